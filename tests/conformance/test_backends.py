"""What `make conformance-backends` found; it needs JAX and PyTorch, which the package does not."""

from keras_inception.registry import architectures

from .backends import FORWARD, STEP, TABLE


def test_the_table_has_no_failures() -> None:
    """This concerns the networks that were measured with these versions, which need not be all."""
    rows = TABLE.stored()
    assert rows
    assert {row["network"] for row in rows} <= {architecture.name for architecture in architectures()}
    assert all(float(row[backend]) <= FORWARD for row in rows for backend in ("jax", "torch"))
    assert all(float(row[f"{backend} step"]) <= STEP for row in rows for backend in ("jax", "torch"))
