"""Upload a run to the Hugging Face hub: its files, and a model card that is made of them, in one commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import hub
from ..arguments import checked
from ..errors import InputError
from ..run import Run, label_lines
from ..transport import OFFLINE, is_offline
from .card import TFDS, card, licence_of

CARD, REPORT, EXPORTS = "README.md", "report.html", "exports"
OPTIONAL = ("history.csv",)  # of older runs, and of those that were copied in part


@checked
def push_to_hub(
    run: Run | str | Path,
    address: str,
    *,
    licence: str | None = None,
    private: bool = False,
    report: bool = True,
    exports: bool = False,
) -> str:
    """Upload a finished run to a model repository of the Hugging Face hub, which is created if it is not there.

    It goes up in one commit, so that nobody sees half of it: `run.json`, `model.keras`, `labels.txt`, `history.csv`,
    `report.html` and a model card, README.md. They replace those of an earlier push; other files stay. `run.json` goes
    without the paths of this machine. The report shows some of the images.

    Args:
        run: a run, or its directory.
        address: "hf://USER/NAME".
        licence: of the model, an identifier of the hub, "apache-2.0". By default that of the published weights that
            the training started from; without such it must be given.
        private: make a repository that only you can see; one that is public already is refused.
        report: upload `report.html`.
        exports: upload the files in the run's `exports/` too.

    Returns:
        The address of the commit, "hf://USER/NAME@COMMIT", which stays the same whatever is pushed later.

    Raises:
        InputError: the run is not whole, the licence is unknown, nobody is logged in, or the hub refuses or cannot be
            reached; nothing is uploaded.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    files = prepared(run, address, licence=licence, report=report, exports=exports)
    run.model()  # what cannot be loaded is not shared
    place, client = hub.Address.of(address), hub.client()
    if is_offline():
        raise InputError(f"{OFFLINE} is set, so nothing is uploaded")
    if client.get_token() is None:
        raise InputError(f"nobody is logged in to the hub: {hub.LOGIN}")
    with hub.one_line(place), hub.silence(client):
        api = hub.interface()
        api.create_repo(place.repository, private=private or None, exist_ok=True)
        if private and not api.model_info(place.repository).private:
            raise InputError(f"{place} is there already, and public: make it private on its page, or give another name")
        stale = [name for name in api.list_repo_files(place.repository) if _is_ours(name) and name not in files]
        made = api.create_commit(
            place.repository,
            [
                *(client.CommitOperationAdd(name, content) for name, content in files.items()),
                *(client.CommitOperationDelete(name) for name in stale),
            ],
            commit_message=f"{run.builder}, {run.metrics['top1']:.2%} of {run.measured_on} images",
        )
    return str(replace(place, revision=made.oid))


def prepared(
    run: Run, address: str, *, licence: str | None = None, report: bool = True, exports: bool = False
) -> dict[str, bytes | Path]:
    """What `push_to_hub` uploads, by name: content that is made, or the path of a file. Nothing is connected to.

    Raises:
        InputError: as `push_to_hub`.
    """
    place = hub.Address.of(address)
    if place.revision:
        raise InputError(f"a push makes a new revision: give hf://{place.repository}, without @{place.revision}")
    if not (model := run.path / "model.keras").is_file():
        raise InputError(f"{run.path} has no model.keras: the run is incomplete; train again")
    chosen, public = licence_of(run, licence), without_paths(run)
    files: dict[str, bytes | Path] = {
        "run.json": public.to_json().encode(),
        "model.keras": model,
        "labels.txt": label_lines(run.labels).encode(),
    }
    wanted = [*OPTIONAL, *([REPORT] if report else [])]
    files |= {name: run.path / name for name in wanted if (run.path / name).is_file()}
    if exports:
        found = sorted(file for file in (run.path / EXPORTS).rglob("*") if file.is_file())
        if not found:
            raise InputError(f"{run.path} has no exports; `keras-inception export {run.path}` writes them")
        files |= {file.relative_to(run.path).as_posix(): file for file in found}
    return {CARD: card(public, place, chosen, files).encode(), **files}


def without_paths(run: Run) -> Run:
    """A copy that says nothing about the files of this machine; the name of a public data set stays."""
    folder = run.data.get("folder")
    data = dict(run.data) | {"folder": folder if folder and folder.startswith(TFDS) else None}
    data |= {name: [] for name in ("rejected", "near_duplicates", "contradictions") if name in data}
    training = dict(run.training)
    for name in ("start", "teacher"):
        if found := training.get(name):
            training[name] = dict(found) | {"weights": _public_name(found)}
    start = training.get("start")
    return replace(run, data=data, training=training, weights=training["start"]["weights"] if start else None)


# ----------------------------------------------------------------------------------------------------------- internals


def _public_name(found: Mapping[str, Any]) -> str | None:
    """The weights of a start or teacher: their tag or address; of a file or a run on this machine its name."""
    weights = found.get("weights")
    return weights if not found.get("digest") or hub.is_address(weights) else Path(str(weights)).name


def _is_ours(name: str) -> bool:
    """Whether an earlier push has made this file."""
    return name in ("run.json", "model.keras", "labels.txt", REPORT, *OPTIONAL) or name.startswith(f"{EXPORTS}/")
