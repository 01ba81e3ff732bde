"""What tests share: networks, each built once a session; `--accept`; the folder of development data."""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest

from keras_inception.analysis.cost import blueprint
from keras_inception.files import HOME
from keras_inception.registry import Architecture

from .conformance.networks import EVERY, WEIGHTED, smallest_shape

SHARED = Path(__file__).parents[2] / "shared"
MEASURED = Path(__file__).with_name("slow.txt")


class Network(NamedTuple):
    """A built network and its entry in the registry."""

    architecture: Architecture
    model: keras.Model

    def images(self, count: int = 2) -> np.ndarray:
        """Random images as the network takes them, the same every time."""
        return np.random.default_rng(0).normal(size=(count, *self.model.input_shape[1:])).astype("float32")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="write what the networks are now into tests/goldens/")


def pytest_configure(config: pytest.Config) -> None:
    """Hear Ctrl-C, and let child processes hear it: a shell starts its background jobs deaf to it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark as slow what `slow.txt` lists; a line of it whose file is here and whose test is not is an error."""
    lines = MEASURED.read_text(encoding="utf-8").splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    for item in items:
        if item.nodeid in listed:
            item.add_marker(pytest.mark.slow)
    if any("::" in argument for argument in config.args):  # then some tests of a file are not collected
        return
    files = {item.nodeid.split("::")[0] for item in items}
    if gone := sorted({x for x in listed if x.split("::")[0] in files} - {item.nodeid for item in items}):
        raise pytest.UsageError(f"{MEASURED.name} lists tests that do not exist: {', '.join(gone)}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cells of the table of crossings ran, and how many hostile inputs, with the slowest."""
    reports = terminalreporter.getreports("passed")
    cells = sum(value for report in reports for name, value in report.user_properties if name == "crossings")
    if cells:
        terminalreporter.write_line(f"{cells} crossings of data, network and command ran")
    hostile = dict(value for report in reports for name, value in report.user_properties if name == "hostile")
    if hostile:
        slowest = sorted(hostile, key=hostile.__getitem__, reverse=True)[:5]
        named = "; ".join(f"{name} {hostile[name]:.1f} s" for name in slowest)
        terminalreporter.write_line(f"{len(hostile)} hostile inputs ended as documented; the slowest: {named}")


# pytest runs the tests of one parameter of these two together, over all files: a network is built once, and gone after.


@pytest.fixture(scope="session", params=EVERY)
def plan(request: pytest.FixtureRequest) -> Network:
    """A network by its default arguments, without weights: its shapes, names and costs."""
    return Network(request.param, blueprint(request.param.build))


@pytest.fixture(scope="session", params=WEIGHTED)
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """A network with weights, on its smallest input; whoever changes the weights puts them back."""
    keras.utils.set_random_seed(0)
    yield Network(request.param, request.param.build(input_shape=smallest_shape(request.param)))
    gc.collect()  # a model is in cycles, and 100 million parameters should not wait for Python to notice


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep away from the user's cache, and remember nothing from one run of the tests to the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def transformed_by_autograph(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A function that AutoGraph cannot read runs all the same, but everybody who trains is told so."""
    yield
    told = [record.getMessage() for when in ("setup", "call") for record in caplog.get_records(when)]
    # A test's own lambda may have no source, as in a page of the documentation.
    assert not [line for line in told if "AutoGraph could not transform" in line and "<lambda>" not in line]


@pytest.fixture
def accept(request: pytest.FixtureRequest) -> bool:
    """Whether goldens are to be renewed."""
    return request.config.getoption("--accept")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The development data, which the repository does not contain."""
    folder = Path(os.environ.get("KERAS_INCEPTION_DATA", SHARED / "data"))
    if not folder.is_dir():
        pytest.skip(f"no development data at {folder}: set KERAS_INCEPTION_DATA to the folder that holds it")
    return folder
