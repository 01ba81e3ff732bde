"""What a comparison is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GOLDENS = Path(__file__).parents[1] / "goldens" / "parity"


@dataclass(frozen=True)
class Row:
    """One of our networks against one implementation of somebody else's."""

    model: str  # our registry name
    reference: str  # "library:name": torchvision, timm, pretrainedmodels, pytorchcv, facenet_pytorch or keras
    shape: tuple[int, int, int]  # of the image: height, width, channels; small, but no stage without a neighbour
    kwargs: Mapping[str, Any] = field(default_factory=dict)  # of our builder; numerics among them
    reference_kwargs: Mapping[str, Any] = field(default_factory=dict)  # of the reference's constructor
    # Our outputs in the order in which the reference returns its own; more than one asks it for its auxiliary heads.
    outputs: tuple[str, ...] = field(default=("predictions",), kw_only=True)
    # Layer name (regular expression) or class name -> the order in which to walk its inputs: {"Add": (1, 0)}.
    order: Mapping[str, tuple[int, ...]] = field(default_factory=dict, kw_only=True)
    # The reference's modules count in the order in which its constructor lists them, not in that of execution.
    registered: bool = field(default=False, kw_only=True)
    # By the name of a layer with weights, its place among ours, where no walk finds the reference's order.
    sort: Callable[[str], Any] | None = field(default=None, kw_only=True)
    case: str = field(default="", kw_only=True)  # tells apart two rows of one model and one library
    gain: float = field(default=1.0, kw_only=True)  # of random kernels, where the logits grow or vanish without it
    seed: int = field(default=0, kw_only=True)
    # Not in `make test`: more than some ten seconds here, or a second reference of a large network.
    slow: bool = field(default=False, kw_only=True)

    @property
    def library(self) -> str:
        return self.reference.split(":")[0]

    @property
    def id(self) -> str:
        return "-".join(filter(None, (self.model, self.library, self.case)))

    @property
    def golden(self) -> Path:
        return GOLDENS / f"{self.id}.json"
