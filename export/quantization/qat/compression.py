"""Pruning and weight clustering: TFMOT's wrappers around the kernels of a Keras 2 copy during training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .bridge import K2, PlanNode
from .settings import Preserve
from .tfmot import cluster_weights, tfmot

_KERNELS = (K2.Conv2D, K2.Dense)  # depthwise kernels are small and lose most accuracy


def _compressible(node: PlanNode) -> bool:
    return isinstance(node.layer, _KERNELS) and node.origin is not None


@dataclass
class Pruning:
    """The share `sparsity` of each kernel, or two of four consecutive weights, become zero."""

    sparsity: float
    pattern: str
    preserve: Preserve = "sparsity"
    wrappers: list[Any] = field(default_factory=list, repr=False)

    def wrap(self, steps: int) -> Callable[[int, PlanNode], Any]:
        """What wraps a node's layer with a mask, for a training of so many steps."""
        sparsity = tfmot.sparsity.keras
        if self.pattern == "2:4":
            arguments = {"pruning_schedule": sparsity.ConstantSparsity(0.5, 0), "sparsity_m_by_n": (2, 4)}
        else:
            often = max(1, steps // 40)  # steps between updates of the mask
            schedule = sparsity.PolynomialDecay(0.0, self.sparsity, 0, max(1, steps // 2), frequency=often)
            arguments = {"pruning_schedule": schedule}

        def wrapped(i: int, node: PlanNode) -> Any:
            if not _compressible(node):
                return node.layer
            self.wrappers.append(sparsity.prune_low_magnitude(node.layer, **arguments))
            return self.wrappers[-1]

        return wrapped

    def callbacks(self) -> list[Any]:
        """What counts the steps and updates the masks."""
        return [tfmot.sparsity.keras.UpdatePruningStep()]

    def counts_from(self, epochs: int) -> int:
        """The first epoch that may be kept: after it all zeros are there."""
        return 1 if self.pattern == "2:4" else -(-epochs // 2)

    def apply(self) -> None:
        """Apply the masks to the weights themselves."""
        for wrapper in self.wrappers:
            for weight, mask, _ in wrapper.pruning_vars:
                weight.assign(weight * mask)

    def kernels(self) -> list[np.ndarray]:
        """The pruned kernels."""
        return [weight.numpy() for wrapper in self.wrappers for weight, _, _ in wrapper.pruning_vars]


@dataclass
class Clustering:
    """Each kernel has at most `clusters` values; with `keep_zeros` zeros stay zero."""

    clusters: int
    keep_zeros: bool
    wrappers: list[Any] = field(default_factory=list, repr=False)

    @property
    def preserve(self) -> Preserve:
        """What a later training keeps of the result."""
        return "both" if self.keep_zeros else "clusters"

    def wrap(self, steps: int) -> Callable[[int, PlanNode], Any]:
        """What wraps a node's layer with centroids from k-means++; the steps do not matter."""
        start = tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS

        def wrapped(i: int, node: PlanNode) -> Any:
            if not _compressible(node) or node.weights[0].size <= self.clusters:
                return node.layer
            self.wrappers.append(cluster_weights(node.layer, self.clusters, start, preserve_sparsity=self.keep_zeros))
            return self.wrappers[-1]

        return wrapped

    def callbacks(self) -> list[Any]:
        """None."""
        return []

    def counts_from(self, epochs: int) -> int:
        """Every epoch may be kept."""
        return 0

    def apply(self) -> None:
        """Write the shared values into the weights themselves."""
        for wrapper in self.wrappers:
            wrapper.update_clustered_weights_associations()
            for name, weight in wrapper.original_clusterable_weights.items():
                weight.assign(getattr(wrapper.layer, name))

    def kernels(self) -> list[np.ndarray]:
        """The clustered kernels."""
        return [w.numpy() for wrapper in self.wrappers for w in wrapper.original_clusterable_weights.values()]
