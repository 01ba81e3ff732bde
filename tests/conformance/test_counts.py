"""A network has exactly the parameters and multiply-adds that its paper's network has."""

import json

import pytest

from keras_inception.analysis.cost import blueprint, total
from keras_inception.registry import get

from ..conftest import SHARED, Network

REFERENCE = SHARED / "reference" / "models.json"
ROWS = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else []
# A row may hold other exact figures of the same network: another batch norm, stride placement, or classifier bias.
ALTERNATIVES = ("keras_applications", "with_classifier_bias")


def test_declared_counts_are_those_of_the_network(plan: Network) -> None:
    counted = total(plan.model)
    declared = plan.architecture
    assert declared.parameters in (counted.trainable, None)
    assert declared.macs in (counted.macs, None)


def _name(row: dict) -> str:
    return "-".join([row["builder"], *(f"{key}={value}" for key, value in row["kwargs"].items())])


@pytest.mark.skipif(not ROWS, reason=f"no reference figures at {REFERENCE}")
@pytest.mark.parametrize("row", [pytest.param(row, id=_name(row)) for row in ROWS])
def test_counts_are_the_references(row: dict) -> None:
    architecture = get(row["builder"])
    assert architecture.builder == row["builder"] or architecture.alias == row["builder"]
    if row["kwargs"].items() <= architecture.own.items():  # then `test_declared_counts...` has counted it
        found = architecture.parameters, architecture.macs
        assert architecture.input_shape == tuple(row["input_shape"])
    else:
        counted = total(blueprint(architecture.build, **row["kwargs"], input_shape=tuple(row["input_shape"])))
        found = counted.trainable, counted.macs
    allowed = [(r["trainable_params"], r["macs"]) for r in (row, *(row[k] for k in ALTERNATIVES if k in row))]
    assert any(all(want in (have, None) for have, want in zip(found, pair, strict=True)) for pair in allowed), (
        f"{_name(row)} has {found} trainable parameters and multiply-adds; the reference has {allowed}"
    )
