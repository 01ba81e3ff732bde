"""A network as a .tflite file: operators that every phone has, shapes that every GPU takes, and the same predictions.

Here on a network of each kind of block that phones are given; `make conformance-tflite` measures all of them, and
`tflite.md` is what it found.
"""

import pytest

from keras_inception.registry import architectures, get

from .tflite import TABLE, measure

# A residual bottleneck with depthwise convolutions; grouped convolutions, a shuffle, and pools in concatenations; fire
# modules; a tanh and pools.
NETWORKS = ["mobilenet_v2", "shufflenet_v1", "squeezenet1_1", "lenet5"]


@pytest.mark.parametrize(
    "name", [name if name == "shufflenet_v1" else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_optimised_in_float32_and_in_int8(name: str) -> None:
    row = measure(get(name))
    assert row["ok"] == "yes", row


def test_the_table_has_no_failures() -> None:
    """This concerns the networks that were measured with these versions, which need not be all."""
    rows = TABLE.read()
    assert [row["network"] for row in rows if row["ok"] != "yes"] == []
    assert {row["network"] for row in rows} <= {architecture.name for architecture in architectures()}
