"""Endpoints keep their names and shapes: they are the API for features, heads and checkpoints."""

import json
from pathlib import Path

from keras_inception.analysis.cost import endpoint_costs
from keras_inception.registry import ARCHITECTURES

from ..conftest import Network

GOLDENS = Path(__file__).parents[1] / "goldens" / "endpoints"
RENEW = "if that is meant, `pytest tests/conformance/test_goldens.py --accept` records it"


def test_endpoints(plan: Network, accept: bool) -> None:
    path = GOLDENS / f"{plan.architecture.name}.json"
    found = {cost.name: list(cost.output_shape) for cost in endpoint_costs(plan.model)}
    if accept:
        rows = (f"  {json.dumps(name)}: {shape}" for name, shape in found.items())
        path.write_text("{\n" + ",\n".join(rows) + "\n}\n")
    expected = json.loads(path.read_text()) if path.exists() else {}
    assert list(found.items()) == list(expected.items()), f"{path.name} differs; {RENEW}"


def test_no_golden_is_left_over() -> None:
    assert {path.stem for path in GOLDENS.glob("*.json")} <= set(ARCHITECTURES)
