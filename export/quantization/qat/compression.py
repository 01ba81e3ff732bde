"""Pruning and weight clustering: what TFMOT puts around a twin's kernels while it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .bridge import K2, Bridge, Node
from .tfmot import cluster_weights, tfmot

_KERNELS = (K2.Conv2D, K2.Dense)  # a depthwise one is small and suffers most


def _compressible(node: Node) -> bool:
    return isinstance(node.layer, _KERNELS) and node.origin is not None


@dataclass
class Pruning:
    """The share `sparsity` of each kernel, or two of four consecutive weights, become zero."""

    sparsity: float
    pattern: str
    preserve: str = "sparsity"
    wrappers: list[Any] = field(default_factory=list, repr=False)

    def dress(self, steps: int) -> Callable[[int, Node], Any]:
        """Masks for a training of so many steps."""
        sparsity = tfmot.sparsity.keras
        if self.pattern == "2:4":
            arguments = {"pruning_schedule": sparsity.ConstantSparsity(0.5, 0), "sparsity_m_by_n": (2, 4)}
        else:
            often = max(1, steps // 40)  # steps from one mask to the next
            schedule = sparsity.PolynomialDecay(0.0, self.sparsity, 0, max(1, steps // 2), frequency=often)
            arguments = {"pruning_schedule": schedule}

        def wrapped(i: int, node: Node) -> Any:
            if not _compressible(node):
                return node.layer
            self.wrappers.append(sparsity.prune_low_magnitude(node.layer, **arguments))
            return self.wrappers[-1]

        return wrapped

    def callbacks(self) -> list[Any]:
        """What counts the steps and puts the masks on."""
        return [tfmot.sparsity.keras.UpdatePruningStep()]

    def counts_from(self, epochs: int) -> int:
        """The first epoch that may be kept: behind it the zeros are all there."""
        return 1 if self.pattern == "2:4" else -(-epochs // 2)

    def apply(self, twin: Bridge) -> None:
        """Put the masks on the weights themselves."""
        for wrapper in self.wrappers:
            for weight, mask, _ in wrapper.pruning_vars:
                weight.assign(weight * mask)

    def kernels(self, twin: Bridge) -> list[np.ndarray]:
        """The pruned kernels."""
        return [weight.numpy() for wrapper in self.wrappers for weight, _, _ in wrapper.pruning_vars]


@dataclass
class Clustering:
    """Each kernel has at most `clusters` values; with `keep_zeros` what is zero stays so."""

    clusters: int
    keep_zeros: bool
    wrappers: list[Any] = field(default_factory=list, repr=False)

    @property
    def preserve(self) -> str:
        """What is to be kept of the result."""
        return "both" if self.keep_zeros else "clusters"

    def dress(self, steps: int) -> Callable[[int, Node], Any]:
        """Centroids, from k-means++."""
        start = tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS

        def wrapped(i: int, node: Node) -> Any:
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

    def apply(self, twin: Bridge) -> None:
        """Put the shared values into the weights themselves."""
        for wrapper in self.wrappers:
            wrapper.update_clustered_weights_associations()
            for name, weight in wrapper.original_clusterable_weights.items():
                weight.assign(getattr(wrapper.layer, name))

    def kernels(self, twin: Bridge) -> list[np.ndarray]:
        """The clustered kernels."""
        return [w.numpy() for wrapper in self.wrappers for w in wrapper.original_clusterable_weights.values()]
