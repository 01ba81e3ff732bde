"""Networks whose files are compared with them: with weights that keep the images' information."""

import gc
from collections.abc import Iterator

import pytest

from ..conftest import Network
from . import qat
from .networks import EXPORTED


@pytest.fixture(scope="session", params=EXPORTED)
def conditioned(request: pytest.FixtureRequest) -> Iterator[Network]:
    """A network as `qat.network` makes it; `qat.images` gives its images."""
    yield Network(request.param, qat.network(request.param, qat.input_side(request.param)))
    gc.collect()
