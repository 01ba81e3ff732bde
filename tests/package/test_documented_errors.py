"""Public functions called with wrong arguments raise what their docstrings name, in one line, and nothing else."""

import inspect
import math
import re
import signal
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keras_inception.errors import InputError

from ..crossings.networks import registered
from .good_calls import Given, good_call, parameters, public

PUBLIC = dict(public())
SECONDS = 60  # in which a call must end
LIBRARIES = sysconfig.get_paths()["purelib"]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    with registered(), pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("given")
        (folder / "here").mkdir()
        patch.chdir(folder / "here")  # where "nonsense" is, if a function writes there
        yield Given(folder)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Values of every type, and paths of what is not there."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "folder").mkdir()
    (folder / "file").write_text("nonsense")
    (folder / "empty_file").touch()
    plain: list[Any] = [None, "", "nonsense", -1, 0, 1e9, math.nan, [], {}, object()]
    paths = ["missing", "folder", "file", "empty_file"]
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


def too_long(*_: Any) -> None:
    raise TimeoutError(f"no answer in {SECONDS} s")


def faults_of(thing: Callable[..., Any], good: Callable[[], dict[str, Any]], wrong: dict[str, Any]) -> list[str]:
    allowed, found = documented(thing), []
    for parameter in parameters(thing):
        for name, value in wrong.items():
            arguments = good() | {parameter.name: value}
            signal.signal(signal.SIGALRM, too_long)
            signal.alarm(SECONDS)
            try:
                thing(**arguments)
            except Exception as error:
                if problem := fault(error, allowed):
                    found.append(f"{parameter.name}={name}: {problem}")
            finally:
                signal.alarm(0)
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_wrong_arguments_raise_what_is_documented(name: str, given: Given, wrong: dict[str, Any]) -> None:
    thing = PUBLIC[name]
    faults = faults_of(thing, lambda: good_call(name, thing, given), wrong)
    assert not faults, "\n" + "\n".join(faults)
