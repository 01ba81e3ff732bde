"""Runs on the Hugging Face hub: their address, and their files in the cache of its own client, huggingface_hub.

Its client knows the user's login, mirrors and proxies, and shares its cache with other programs. A connection that
breaks off is resumed within the call; files that are whole stay in the cache, with a folder for each commit.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import InputError, first_line
from .terminal import note
from .transport import OFFLINE, is_offline

PREFIX = re.compile(r"hf:/{1,2}(?!/|(?:datasets|spaces|buckets)/)")  # a `Path` drops a slash
REPOSITORY = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
LOGIN = "log in by `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True)
class Address:
    """Where a run is on the hub, "hf://USER/NAME" or "hf://USER/NAME@REVISION": a branch, a tag or a commit."""

    repository: str
    revision: str | None = None

    @classmethod
    def of(cls, text: str | Path) -> Address:
        """Read an address.

        Raises:
            InputError: it has another form.
        """
        if not is_address(text) or not (found := REPOSITORY.fullmatch(PREFIX.sub("", str(text), count=1))):
            raise InputError(f"a run on the hub is hf://USER/NAME, or hf://USER/NAME@REVISION; got {str(text)!r}")
        return cls(found[1], found[2])

    def __str__(self) -> str:
        return f"hf://{self.repository}" + (f"@{self.revision}" if self.revision else "")


def is_address(path: Any) -> bool:
    """Whether this is of the form "hf://...", of a model: data sets have addresses of their own."""
    return isinstance(path, str | Path) and PREFIX.match(str(path)) is not None


def pinned(given: Any, before: str | None) -> Any:
    """What is given; of an address without a revision the one of `before`, if that is a commit of the same run.

    So a training that is resumed starts from what it has begun with, whatever was pushed since.
    """
    if is_address(given) and is_address(before):
        asked, begun = Address.of(given), Address.of(before or "")
        if asked.revision is None and asked.repository == begun.repository:
            return str(begun)
    return given


def download(address: Address) -> tuple[Path, Address]:
    """The folder in the cache with a run's `run.json`, `model.keras` and `history.csv`, and the address of its commit.

    What is in the cache is not downloaded again, and a commit that is there needs no connection.

    Raises:
        InputError: there is no such repository or revision, it holds no run, or the hub cannot be reached.
    """
    hub = client()
    with one_line(address), silence(hub):
        api, cached = interface(), {"local_files_only": is_offline()}
        record = Path(api.hf_hub_download(address.repository, "run.json", revision=address.revision, **cached))
        commit = replace(address, revision=record.parent.name)
        if not (record.parent / "model.keras").exists():
            note(f"downloading {commit}", style="")
        api.hf_hub_download(address.repository, "model.keras", revision=commit.revision, **cached)
        with suppress(hub.errors.EntryNotFoundError):
            api.hf_hub_download(address.repository, "history.csv", revision=commit.revision, **cached)
    return record.parent, commit


def client() -> ModuleType:
    """The package huggingface_hub.

    Raises:
        InputError: it is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ModuleNotFoundError as error:
        raise InputError(f"hf:// needs {error.name}: pip install 'keras-inception[hub]'") from error
    return huggingface_hub


def interface() -> Any:
    """The client's `HfApi`, with HF_ENDPOINT as it is now: Keras imports the client, which reads it once, early."""
    return client().HfApi(endpoint=os.environ.get("HF_ENDPOINT", "").rstrip("/") or None)


@contextmanager
def one_line(address: Address) -> Iterator[None]:
    """Turn whatever the client raises within the block into an InputError."""
    errors = client().errors
    try:
        yield
    except InputError:
        raise
    except errors.RevisionNotFoundError as error:
        message = f"{address.repository} has no revision {address.revision!r}: give one of its branches, tags, commits"
        raise InputError(message) from error
    except errors.GatedRepoError as error:
        raise InputError(f"{address} is gated: ask for access on its page, then {LOGIN}") from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(f"{address} is not on the hub, or is private: check the name, or {LOGIN}") from error
    except errors.LocalEntryNotFoundError as error:
        why = f"{OFFLINE} is set" if is_offline() else "the hub cannot be reached"
        raise InputError(f"{address} is not whole in the cache, and {why}: repeat it with a connection") from error
    except errors.EntryNotFoundError as error:
        raise InputError(f"{address} holds no finished run: it lacks run.json or model.keras") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise InputError(f"the hub refuses {address} ({status}): {LOGIN}, with a token that may do this") from error
        raise InputError(f"the hub answers {status} for {address}: {first_line(error)}") from error
    except Exception as error:  # of its HTTP library, which differs between its versions
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        raise InputError(f"{address}: {first_line(error)}; the same call tries again") from error


@contextmanager
def silence(hub: ModuleType) -> Iterator[None]:
    """Keep the client's warnings off stderr, and its progress bars where stderr is no terminal."""
    logging, shown = hub.utils.logging, not hub.utils.are_progress_bars_disabled()
    verbosity = logging.get_verbosity()
    hide = shown and not (sys.stderr is not None and sys.stderr.isatty())
    logging.set_verbosity_error()
    if hide:
        hub.utils.disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if hide:
            hub.utils.enable_progress_bars()
