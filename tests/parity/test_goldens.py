"""Every row's network still says what its reference said when the golden was recorded."""

import json

import keras
import numpy as np
import pytest

from .compare import BAR, LISTED, ours
from .row import GOLDENS, Row
from .rows import ALL
from .units import answers, image

RENEW = "record it with `python -m tests.parity --accept -k {row.id}` (see tests/parity/__init__.py)"


@pytest.mark.parametrize("row", [pytest.param(r, id=r.id, marks=[pytest.mark.slow] * r.slow) for r in ALL])
def test_logits_are_the_references(row: Row) -> None:
    assert row.golden.exists(), f"no golden {row.golden.name}: " + RENEW.format(row=row)
    golden = json.loads(row.golden.read_text())
    recorded = golden["reference"], tuple(golden["shape"]), golden["seed"], tuple(golden["logits"])
    assert recorded == (row.reference, row.shape, row.seed, row.outputs), "stale golden: " + RENEW.format(row=row)

    keras.backend.clear_session()
    logits = answers(ours(row)[0], image(row.shape, row.seed))
    for output, expected in golden["logits"].items():
        np.testing.assert_allclose(logits[output][:LISTED], expected["first"], rtol=0, atol=BAR, err_msg=output)
        assert abs(logits[output].mean() - expected["mean"]) <= BAR, output
        assert abs(logits[output].std() - expected["std"]) <= BAR, output


def test_no_golden_is_left_over() -> None:
    assert {path.name for path in GOLDENS.glob("*.json")} <= {row.golden.name for row in ALL}
