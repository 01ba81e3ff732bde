"""What `make conformance-backends` found; it needs JAX and PyTorch, which the package does not."""

from keras_inception.registry import architectures

from ..markdown import rows_in
from .backends import FORWARD, STEP, TABLE


def test_the_table_has_no_failures() -> None:
    """This concerns the networks that were measured, which need not be all."""
    rows = rows_in(TABLE.path.read_text(encoding="utf-8"), TABLE.all_columns)
    assert rows
    assert {row["network"] for row in rows} <= {architecture.name for architecture in architectures()}
    assert all(float(row[backend]) <= FORWARD for row in rows for backend in ("jax", "torch"))
    assert all(float(row[f"{backend} step"]) <= STEP for row in rows for backend in ("jax", "torch"))
