"""A `Plan` with fake quantisation where TFLite's int8 kernels round, by TFMOT's wrappers and quantisers.

TFMOT's own `quantize_apply` refuses several of the layers, takes quadratic time to match patterns, and clones the
network under names that may collide. Here each node is wrapped according to its readers:

- Kernels are rounded as in TFMOT's scheme, with one scale per filter.
- A tensor is rounded where its int8 kernel ends: after the batch norm and the ReLU that fold into a convolution, a sum
  or a dense layer; and after a concatenation rather than in each branch, since a concatenation has one scale.
- What only moves or chooses values (padding, pools, reshapes) keeps the scale of its input. If a concatenation and
  other layers read it, it is rounded itself and its input is not.
- Softmax, sigmoid and tanh have the scales that TFLite prescribes.

The ranges start with those that `observe` measures. TFMOT starts with -6 to 6, which a thousand steps do not forget.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from .bridge import K2, Keras2Copy, Norm, Plan, PlanNode, build
from .quantizable import KEEPS_SCALE, quantizable
from .settings import Preserve
from .tfmot import tfmot

_quantization: Any = tfmot.quantization.keras
_SCHEMES = {
    None: _quantization.default_8bit.Default8BitQuantizeScheme,
    "sparsity": tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme,
    "clusters": lambda: tfmot.experimental.combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=False),
    "both": lambda: tfmot.experimental.combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=True),
}

_FIXED = {"softmax": (0.0, 255 / 256), "sigmoid": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}
_CONVOLUTIONS = (K2.Conv2D, K2.DepthwiseConv2D)
_WITH_KERNEL = (*_CONVOLUTIONS, K2.Dense)
PIXELS = _quantization.quantizers.FixedQuantizer(8, 0.0, 255.0, narrow_range=False)  # a scale of 1


class Observed(_quantization.quantizers.MovingAverageQuantizer):
    """TFMOT's moving average of a tensor's range. While `observing`, the tensor is unchanged and widens its range."""

    def __init__(self) -> None:
        super().__init__(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)
        self.observing = False

    def __call__(self, inputs: tf.Tensor, training: Any, weights: Any, **kwargs: Any) -> tf.Tensor:
        """Any shape -> the same."""
        if not self.observing:
            return super().__call__(inputs, training, weights, **kwargs)
        low, high = weights["min_var"], weights["max_var"]
        seen = low.assign(tf.minimum(low, tf.reduce_min(inputs))), high.assign(tf.maximum(high, tf.reduce_max(inputs)))
        with tf.control_dependencies(seen):
            return tf.identity(inputs)


class DepthwiseKernel(_quantization.quantizers.LastValueQuantizer):
    """One scale per filter for depthwise kernels, (H, W, C, 1), as in TFLite; TFMOT has one for all of them."""

    def __init__(self) -> None:
        super().__init__(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)

    def build(self, tensor_shape: Any, name: str, layer: Any) -> Any:
        """The ranges."""
        return super().build(tf.TensorShape([tensor_shape[i] for i in (0, 1, 3, 2)]), name, layer)

    def __call__(self, inputs: tf.Tensor, training: Any, weights: Any, **kwargs: Any) -> tf.Tensor:
        """(H, W, C, 1) -> the same."""
        rounded = super().__call__(tf.transpose(inputs, (0, 1, 3, 2)), training, weights, **kwargs)
        return tf.transpose(rounded, (0, 1, 3, 2))


class Wrapper(_quantization.QuantizeWrapperV2):
    """TFMOT's wrapper around a layer, without AutoGraph, which warns that it cannot read TFMOT's code."""

    @tf.autograph.experimental.do_not_convert
    def call(self, inputs: Any, training: Any = None, **kwargs: Any) -> Any:
        """The layer's output, rounded."""
        return super().call(inputs, training=training, **kwargs)


class Rounded(_quantization.QuantizeConfig):
    """What is rounded in a layer: its kernel, by TFMOT's config for the layer, and its output."""

    def __init__(self, kernel: Any, output: Any):
        self.kernel, self.output = kernel, output

    def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
        """The kernel."""
        return self.kernel.get_weights_and_quantizers(layer) if self.kernel else []

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """Put the rounded kernel in place."""
        if self.kernel:
            self.kernel.set_quantize_weights(layer, quantize_weights)

    def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
        """None: no layer of a plan contains its activation."""
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Nothing to put in place."""

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """The output, if it is rounded."""
        return [self.output] if self.output else []

    def get_config(self) -> dict[str, Any]:
        """Empty: these models are never cloned or saved as a whole."""
        return {}


def fake_quantized(plan: Plan, *, pixels: bool = False, preserve: Preserve | None = None) -> Keras2Copy:
    """Build a plan's model with fake quantisation.

    Kernel ranges are set here; activation ranges stay empty until `observe` has run calibration batches. With `pixels`
    the input is pixels, 0..255. `preserve` keeps the kernels' zeros, their shared values or both during training.
    """
    registry = _SCHEMES[preserve]().get_quantize_registry()
    plan = quantizable(plan)
    readers = plan.consumers()

    def wrap(i: int, node: PlanNode) -> Any:
        if i == 0:
            rounded = Rounded(None, PIXELS if pixels else Observed())
            return Wrapper(K2.Activation("linear", name="input_rounded"), rounded)
        kernel: Any = registry.get_quantize_config(node.layer) if isinstance(node.layer, _WITH_KERNEL) else None
        if isinstance(node.layer, K2.DepthwiseConv2D) and node.layer.depth_multiplier == 1:
            kernel.weight_quantizer = DepthwiseKernel()
        output = _output(plan, readers, i)
        if not kernel and not output:
            return node.layer
        return Wrapper(node.layer, Rounded(kernel, output))

    copy = build(plan, wrap)
    measure_kernels(copy)
    return copy


def _output(plan: Plan, readers: list[list[int]], i: int) -> Any:
    """The quantiser of a node's output, or None."""
    layer, nodes = plan.nodes[i].layer, plan.nodes
    if isinstance(layer, KEEPS_SCALE):
        return Observed() if _forks(plan, readers, i) else None
    if isinstance(layer, K2.Activation):
        low, high = _FIXED[layer.activation.__name__]
        return _quantization.quantizers.FixedQuantizer(8, low, high, narrow_range=False)
    if len(readers[i]) == 1 and readers[i] != [-1]:
        [reader] = readers[i]
        after = nodes[reader].layer
        if isinstance(layer, _CONVOLUTIONS) and isinstance(after, Norm):
            return None
        if isinstance(layer, (*_WITH_KERNEL, Norm, K2.Add, K2.Multiply)) and _folds(after):
            return None
        while isinstance(nodes[reader].layer, KEEPS_SCALE) and len(readers[reader]) == 1 and readers[reader] != [-1]:
            [reader] = readers[reader]
        if isinstance(nodes[reader].layer, K2.Concatenate) or _forks(plan, readers, reader):
            return None
    return Observed()


def _forks(plan: Plan, readers: list[list[int]], i: int) -> bool:
    """Whether a node keeps the scale of its input and is read by a concatenation and by others.

    If its input were rounded, TensorFlow's converter would leave the other readers in float.
    """
    concatenated = any(isinstance(plan.nodes[reader].layer, K2.Concatenate) for reader in readers[i])
    return isinstance(plan.nodes[i].layer, KEEPS_SCALE) and concatenated and len(readers[i]) > 1


def _folds(layer: Any) -> bool:
    """Whether it is a nonlinearity that is part of TFLite's kernels."""
    if not isinstance(layer, K2.ReLU) or layer.negative_slope or layer.threshold:
        return False
    return layer.max_value in (None, 6)


# -------------------------------------------------------------------------------------------------------------- ranges


def measure_kernels(copy: Keras2Copy) -> None:
    """Set the ranges of all kernels to their present values; training leaves them one step old."""
    for layer in copy.model.layers:
        for weight, quantizer, variables in getattr(layer, "_weight_vars", ()):
            quantizer(weight, True, weights=variables)


def observe(copy: Keras2Copy, batches: Iterable[np.ndarray]) -> None:
    """Set the ranges of all tensors to the values that these inputs produce."""
    for layer in copy.model.layers:
        for variable in (getattr(layer, "_output_quantizer_vars", None) or {}).values():
            variable.assign(0.0)
    rounded = [layer.quantize_config.output for layer in copy.model.layers if isinstance(layer, Wrapper)]
    observed = [quantizer for quantizer in rounded if isinstance(quantizer, Observed)]
    run = tf.function(lambda x: copy.model(x, training=False), autograph=False, reduce_retracing=True)
    for quantizer in observed:
        quantizer.observing = True
    try:
        for x in batches:
            run(tf.constant(x, tf.float32))
    finally:
        for quantizer in observed:
            quantizer.observing = False


def freeze_statistics(copy: Keras2Copy) -> None:
    """Let batch norm use and keep its moving statistics in training too; graphs traced before do not change."""
    for node in copy.plan.nodes:
        if isinstance(node.layer, Norm):
            node.layer.frozen = True
