"""A network for inference: the same outputs with less computation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import keras

from keras_inception.analysis.cost import total
from keras_inception.arguments import checked
from keras_inception.errors import InputError
from keras_inception.layers import deep_graph
from keras_inception.outputs import auxiliary_names, without_auxiliary

from .fold import into_layer_after, into_layer_before
from .gpu import padded_pool_as_convolution, uneven_groups_as_several
from .graph import Graph, Node, Rule
from .grouped import grouped_as_operator, grouped_as_several
from .integer import (
    activation_in_convolution,
    norm_as_convolution,
    pool_as_convolution,
    separable_as_two,
    strided_projection_as_two,
    sum_of_single_positions,
)
from .lrn import lrn_as_convolution
from .move import pool_after_projection, pool_before_projection
from .simplify import operation_as_layer, pad_in_layer, without_identity, without_training_layer

__all__ = [
    "FLOAT16_RULES",
    "INTEGER_RULES",
    "ONNX_RULES",
    "OPENVINO_RULES",
    "RULES",
    "TENSORFLOW_INT8_RULES",
    "TFLITE_RULES",
    "TRAINING_RULES",
    "Graph",
    "Node",
    "Report",
    "Rule",
    "optimize",
    "rewrite",
]

RULES: dict[str, Rule] = {
    "training layer dropped": without_training_layer,
    "identity dropped": without_identity,
    "norm or scale folded into the layer before": into_layer_before,
    "norm or scale folded into the layer after": into_layer_after,
    "average pool moved after a projection": pool_after_projection,
    "average pool moved before a projection": pool_before_projection,
    "zero padding taken into the layer": pad_in_layer,
    "local response norm as convolution": lrn_as_convolution,
}
TFLITE_RULES: dict[str, Rule] = {  # for .tflite files, after the others
    "padded average pool as convolution": padded_pool_as_convolution,
    "zero padding taken into the layer": pad_in_layer,
}
# For converters of TensorFlow's graph, after the others. ONNX has grouped convolutions, but the result does not run in
# TensorFlow; OpenVINO's reader of TensorFlow's graphs has none.
ONNX_RULES: dict[str, Rule] = {"grouped convolution as operator": grouped_as_operator}
OPENVINO_RULES: dict[str, Rule] = {"grouped convolution as several": grouped_as_several}
FLOAT16_RULES: dict[str, Rule] = {"uneven groups as several convolutions": uneven_groups_as_several}  # for GPUs
INTEGER_RULES: dict[str, Rule] = {  # for int8 files, after these
    "average pool as convolution": pool_as_convolution,
    "norm or scale as convolution": norm_as_convolution,
    "stride of a 1x1 convolution before it": strided_projection_as_two,
    "sum of maps of one position as of two": sum_of_single_positions,
}
TENSORFLOW_INT8_RULES: dict[str, Rule] = {  # for TensorFlow's int8 kernels, after the first
    "separable convolution as two": separable_as_two,
    "ReLU taken into the convolution": activation_in_convolution,
}
TRAINING_RULES: dict[str, Rule] = {  # for a network that is trained on, with models within it opened
    "operation as layer": operation_as_layer,
}
HEADS = "auxiliary head dropped"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `optimize` did: for each rule the layers that it removed or replaced. Figures are (before, after).

    `macs` are the multiply-adds of one image, None if an input size is free or a layer's multiply-adds are unknown.
    """

    applied: dict[str, tuple[str, ...]]
    layers: tuple[int, int]
    parameters: tuple[int, int]
    macs: tuple[int | None, int | None]

    def __str__(self) -> str:
        rows = [
            (rule, f"{len(names):,}", f"{names[0]}{' ...' if names[1:] else ''}")
            for rule, names in self.applied.items()
        ]
        for kind in ("layers", "parameters", "macs"):
            before, after = (f"{figure:,}" if figure is not None else "?" for figure in getattr(self, kind))
            rows.append(({"macs": "multiply-adds"}.get(kind, kind), before, f"-> {after}"))
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(f"{a:{widths[0]}}  {b:>{widths[1]}}  {c}" for a, b, c in rows)


@checked
def optimize(model: keras.Model) -> keras.Model:
    """Make a network that has the same outputs in inference and computes less.

    Batch norms and constant scales become part of the convolutions next to them. Average pools change places with 1x1
    convolutions where that is less work. Layers that act in training only are removed, and so are auxiliary heads.
    Early exits stay, and so does every layer that no rule knows. A layer with the name of a layer of the given model
    computes the same. The result computes in float32 and is for inference, not for training.

    Args:
        model: any functional model, which is not changed.

    Raises:
        InputError: the model is not functional, or one of its layers cannot be copied.
    """
    return rewrite(model)[0]


@deep_graph()
def rewrite(model: keras.Model, rules: Mapping[str, Rule] = RULES) -> tuple[keras.Model, Report]:
    """`optimize` by these rules, and what each one did."""
    graph = Graph(without_auxiliary(model))
    dropped = auxiliary_names(model) if len(graph.end.sources) < len(model.outputs) else ()
    applied: dict[str, list[str]] = {HEADS: list(dropped)} if dropped else {}
    changed = True
    while changed:
        changed = False
        for name, rule in rules.items():
            if done := [node.name for node in graph.apply(rule)]:
                applied.setdefault(name, []).extend(done)
                changed = True
    result = graph.model()
    return result, Report(
        applied={name: tuple(layers) for name, layers in applied.items()},
        layers=(len(model.layers), len(result.layers)),
        parameters=(model.count_params(), result.count_params()),
        macs=(_macs(model), _macs(result)),
    )


def _macs(model: keras.Model) -> int | None:
    try:
        return total(model).macs
    except InputError:
        return None
