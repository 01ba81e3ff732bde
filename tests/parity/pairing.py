"""Which weight goes where. Both sides of a comparison import this, so it knows NumPy only.

A unit's arrays have one layout here: `kernel` is (height, width, channels in a group, channels out), a dense layer's
too; `bias`, and batch norm's `gamma`, `beta`, `mean`, `variance`, are vectors.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

Arrays: TypeAlias = dict[str, np.ndarray]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


class Mismatch(Exception):
    """The two networks are not made of the same units; the message shows both."""


def pair(
    names: Sequence[str], units: Sequence[Arrays], their_names: Sequence[str], theirs: Sequence[Shapes]
) -> list[Arrays]:
    """Our arrays, unit by unit, as the reference wants them: its own shapes, and what it has beyond ours."""
    paired: list[Arrays] = []
    shift: np.ndarray | float = 0.0  # of the next moving mean, by a bias that only the reference has
    rng = np.random.default_rng(0)
    for i, (ours, wanted) in enumerate(zip(units, theirs, strict=False)):
        arrays = dict(ours)
        if "mean" in arrays:
            arrays["mean"] = arrays["mean"] + shift
            shift = 0.0
            if "gamma" in wanted:
                arrays.setdefault("gamma", np.ones_like(arrays["mean"]))
        elif "bias" in wanted and "bias" not in arrays and _normed(units, i):
            shift = arrays["bias"] = rng.normal(0, 0.1, wanted["bias"]).astype("float32")
        if not _fits(arrays, wanted):
            raise Mismatch(_side_by_side(names, units, their_names, theirs, i))
        paired.append({k: _reshaped(v, wanted[k]) for k, v in arrays.items()})
    if len(units) != len(theirs):
        raise Mismatch(_side_by_side(names, units, their_names, theirs, len(paired)))
    return paired


def _normed(units: Sequence[Arrays], i: int) -> bool:
    """Whether the next unit is a batch norm of this one's channels."""
    following = units[i + 1] if i + 1 < len(units) else {}
    return "mean" in following and following["mean"].shape == units[i]["kernel"].shape[-1:]


def _fits(arrays: Arrays, wanted: Shapes) -> bool:
    return set(arrays) == set(wanted) and all(_same(arrays[k].shape, shape) for k, shape in wanted.items())


def _same(ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
    """Equal, or a dense layer, (in, out), against a convolution of the same fan in."""
    if len(ours) == 4 and theirs[:2] == (1, 1):
        return (np.prod(ours[:3]), ours[3]) == (theirs[2], theirs[3])
    return ours == theirs


def _reshaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return array if array.shape == shape else array.transpose(2, 0, 1, 3).reshape(shape)


def _side_by_side(
    names: Sequence[str], units: Sequence[Arrays], their_names: Sequence[str], theirs: Sequence[Shapes], at: int
) -> str:
    def line(i: int) -> str:
        ours = f"{names[i]} {_shapes({k: v.shape for k, v in units[i].items()})}" if i < len(units) else "-"
        other = f"{their_names[i]} {_shapes(theirs[i])}" if i < len(theirs) else "-"
        return f"{'>' if i == at else ' '} {i:4d}  {ours:<70}  {other}"

    window = range(max(0, at - 4), min(max(len(units), len(theirs)), at + 5))
    title = f"unit {at} of {len(units)} (ours, left) and {len(theirs)} (reference, right) differs:"
    return "\n".join([title, *map(line, window)])


def _shapes(shapes: Shapes) -> str:
    return " ".join(f"{k}{'x'.join(map(str, shape))}" for k, shape in shapes.items() if k in ("kernel", "bias", "mean"))
