"""Public functions called with wrong arguments raise what their docstrings name, in one line, and nothing else."""

import importlib
import inspect
import math
import re
import signal
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from keras_inception.errors import InputError
from keras_inception.transport import OFFLINE

from ..crossings.networks import registered
from .good_calls import GOOD, WORK, Given, good_call, parameters, public

PUBLIC = dict(public())
SECONDS = 60  # in which a call must end
LIBRARIES = sysconfig.get_paths()["purelib"]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    with registered(), pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("given")
        (folder / "here").mkdir()
        patch.chdir(folder / "here")  # where "nonsense" is, if a function writes there
        patch.setenv(OFFLINE, "1")
        yield Given(folder)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Values of every type, and paths of what is not there."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "folder").mkdir()
    (folder / "file").write_text("nonsense")
    (folder / "empty_file").touch()
    plain: list[Any] = [None, "", "nonsense", -1, 0, 1e9, math.nan, [], {}, object()]
    paths = ["missing", "missing/in_it", "folder", "file", "empty_file"]
    named = {repr(value) if type(value) is not object else "object()": value for value in plain}
    return named | {f"a path, {name}": folder / name for name in paths}


def documented(thing: Callable[..., Any]) -> set[str]:
    """The names of the exceptions in the section "Raises" of a docstring; of a class in that of `__init__` too."""
    docs = [inspect.getdoc(thing), inspect.getdoc(thing.__init__) if inspect.isclass(thing) else None]
    sections = [(doc or "").partition("\nRaises:\n")[2] for doc in docs]
    return {name for section in sections for name in re.findall(r"^    (\w+):", section, re.MULTILINE)}


def fault(error: BaseException, allowed: set[str]) -> str | None:
    """What is wrong with an exception; None if nothing is."""
    places = traceback.extract_tb(error.__traceback__)
    shown = f"{type(error).__name__}: {str(error)[:200]!r} ({Path(places[-1].filename).name}:{places[-1].lineno})"
    if not {kind.__name__ for kind in type(error).__mro__} & allowed:
        return f"not documented: {shown}"
    if LIBRARIES in places[-1].filename:
        return f"from inside a library: {shown}"
    if isinstance(error, InputError) and len(str(error).splitlines()) != 1:
        return f"not one line: {shown}"
    return None


class Reached(Exception):
    """The arguments are accepted: what takes seconds would begin."""


def work_of(name: str) -> tuple[ModuleType, str]:
    module, _, function = WORK[name].rpartition(".")
    return importlib.import_module(module), function


def reached(*_: Any, **__: Any) -> None:
    raise Reached


def too_long(*_: Any) -> None:
    raise TimeoutError(f"no answer in {SECONDS} s")


def called(thing: Callable[..., Any], arguments: dict[str, Any]) -> BaseException | None:
    """What the call raises, or that it does not end."""
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        thing(**arguments)
    except Exception as error:
        return error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return None


def faults_of(name: str, given: Given, wrong: dict[str, Any]) -> list[str]:
    """Every call with one wrong argument that ends otherwise than documented."""
    thing = PUBLIC[name]
    allowed, found = documented(thing), []
    for parameter in parameters(thing):
        for shown, value in wrong.items():
            error = called(thing, good_call(name, thing, given) | {parameter.name: value})
            if error and not isinstance(error, Reached) and (problem := fault(error, allowed)):
                found.append(f"{parameter.name}={shown}: {problem}")
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_wrong_arguments_raise_what_is_documented(
    name: str, given: Given, wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in WORK:
        good_call(name, PUBLIC[name], given)  # what it needs is made with the work
        monkeypatch.setattr(*work_of(name), reached)
    faults = faults_of(name, given, wrong)
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.slow
@pytest.mark.parametrize("name", WORK)
def test_wrong_arguments_do_not_disturb_the_work(name: str, given: Given, wrong: dict[str, Any]) -> None:
    faults = faults_of(name, given, wrong)
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize("name", PUBLIC)
def test_good_calls_are_good(name: str, given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = good_call(name, PUBLIC[name], given)
    if name in WORK:
        monkeypatch.setattr(*work_of(name), reached)
    error = called(PUBLIC[name], arguments)
    if isinstance(error, InputError) and "pip install" in str(error):
        pytest.skip(str(error))
    assert isinstance(error, Reached) if name in WORK else error is None, repr(error)


def test_a_fault_is_found() -> None:
    def number(text: str) -> int:
        """A number.

        Raises:
            ValueError: it is none.
        """
        return int(text)

    def two_lines() -> None:
        error = InputError()
        error.args = ("one\nanother",)  # given as an argument it would be one line
        raise error

    error = called(number, {"text": "x"})
    assert documented(number) == {"ValueError"}
    assert fault(error, documented(number)) is None
    assert fault(error, {"InputError"}).startswith("not documented: ValueError")
    assert fault(called(two_lines, {}), {"InputError"}).startswith("not one line")
    assert fault(called(np.stack, {"arrays": []}), {"ValueError"}).startswith("from inside a library")


def test_every_public_name_has_a_good_call() -> None:
    assert set(GOOD) <= set(PUBLIC)
    with pytest.raises(LookupError, match=r"nobody needs x: give it a good call in good_calls\.py"):
        good_call("nobody", lambda x: x, Given(Path()))
