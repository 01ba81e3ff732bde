"""The network of a `Plan` with fake quantisation where TFLite's int8 kernels round, by TFMOT's wrappers and quantisers.

TFMOT's own `quantize_apply` refuses several of the layers, matches patterns in a time that grows with the square of the
network, and clones it under names that may collide. So each node is dressed here, by what reads it:

- Kernels are rounded as TFMOT's scheme says, one scale a filter.
- A tensor is rounded where its kernel ends: behind the batch norm and the ReLU that fold into a convolution, a sum or a
  dense layer; and behind a concatenation rather than in each of its branches, since int8 tensors are concatenated in
  one scale.
- What only moves or chooses values (padding, pools, reshapes) keeps the scale of what it is given; where it is
  concatenated and read by others too, it is rounded behind, and what it is given is not.
- Softmax, sigmoid and tanh have the scales that TFLite prescribes.

Each range starts at what `observe` has seen, and not at TFMOT's -6 to 6, which a thousand steps would not forget.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from .bridge import K2, Bridge, Node, Norm, Plan, build
from .quantizable import KEEPS_SCALE, quantizable
from .tfmot import tfmot

Preserve = Literal["sparsity", "clusters", "both"]

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
PIXELS = _quantization.quantizers.FixedQuantizer(8, 0.0, 255.0, narrow_range=False)  # one level a step


class Observed(_quantization.quantizers.MovingAverageQuantizer):
    """TFMOT's moving average of a tensor's range; while `observing` the tensor passes, and its range grows over all."""

    observing = False

    def __init__(self) -> None:
        super().__init__(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)

    def __call__(self, inputs: tf.Tensor, training: Any, weights: Any, **kwargs: Any) -> tf.Tensor:
        """Any shape -> the same."""
        if not Observed.observing:
            return super().__call__(inputs, training, weights, **kwargs)
        low, high = weights["min_var"], weights["max_var"]
        seen = low.assign(tf.minimum(low, tf.reduce_min(inputs))), high.assign(tf.maximum(high, tf.reduce_max(inputs)))
        with tf.control_dependencies(seen):
            return tf.identity(inputs)


class DepthwiseKernel(_quantization.quantizers.LastValueQuantizer):
    """One scale a filter for depthwise kernels, (H, W, C, 1), as TFLite has it; TFMOT's own has one for all of them."""

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
    """TFMOT's wrapper around a layer, called as it is written: AutoGraph warns that it cannot read TFMOT's code."""

    @tf.autograph.experimental.do_not_convert
    def call(self, inputs: Any, training: Any = None, **kwargs: Any) -> Any:
        """As the layer, rounded."""
        return super().call(inputs, training=training, **kwargs)


class Rounded(_quantization.QuantizeConfig):
    """What of a layer is rounded: its kernel, as TFMOT's config for the layer says, and its output."""

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
        """None: no layer of a plan has its activation inside."""
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Nothing to put in place."""

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """The output, if it is rounded."""
        return [self.output] if self.output else []

    def get_config(self) -> dict[str, Any]:
        """Not needed: these models are never cloned or saved as a whole."""
        return {}


def fake_quantized(plan: Plan, *, pixels: bool = False, preserve: Preserve | None = None) -> Bridge:
    """Build a plan's model with fake quantisation; its ranges are those of kernels, and of nothing until `observe`.

    With `pixels` its input is pixels of 0..255. `preserve` keeps zeros, shared values or both of the kernels as they
    are through the training that follows.
    """
    registry = _SCHEMES[preserve]().get_quantize_registry()
    plan = quantizable(plan)
    readers = plan.consumers()

    def dress(i: int, node: Node) -> Any:
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

    bridge = build(plan, dress)
    measure_kernels(bridge)
    return bridge


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
        behind = nodes[reader].layer
        if isinstance(layer, _CONVOLUTIONS) and isinstance(behind, Norm):
            return None
        if isinstance(layer, (*_WITH_KERNEL, Norm, K2.Add, K2.Multiply)) and _folds(behind):
            return None
        while isinstance(nodes[reader].layer, KEEPS_SCALE) and len(readers[reader]) == 1 and readers[reader] != [-1]:
            [reader] = readers[reader]
        if isinstance(nodes[reader].layer, K2.Concatenate) or _forks(plan, readers, reader):
            return None
    return Observed()


def _forks(plan: Plan, readers: list[list[int]], i: int) -> bool:
    """Whether it keeps the scale, for a concatenation and others: TensorFlow's converter would leave the others in
    float if the tensor were rounded before it."""
    concatenated = any(isinstance(plan.nodes[reader].layer, K2.Concatenate) for reader in readers[i])
    return isinstance(plan.nodes[i].layer, KEEPS_SCALE) and concatenated and len(readers[i]) > 1


def _folds(layer: Any) -> bool:
    """Whether it is a nonlinearity that TFLite's kernels have built in."""
    if not isinstance(layer, K2.ReLU) or layer.negative_slope or layer.threshold:
        return False
    return layer.max_value in (None, 6)


# -------------------------------------------------------------------------------------------------------------- ranges


def measure_kernels(bridge: Bridge) -> None:
    """Set the ranges of all kernels to what they are now; training leaves them a step behind."""
    for layer in bridge.model.layers:
        for weight, quantizer, variables in getattr(layer, "_weight_vars", ()):
            quantizer(weight, True, weights=variables)


def observe(bridge: Bridge, batches: Iterable[np.ndarray]) -> None:
    """Set the ranges of all tensors to what these inputs make of them."""
    for layer in bridge.model.layers:
        for variable in (getattr(layer, "_output_quantizer_vars", None) or {}).values():
            variable.assign(0.0)
    look = tf.function(lambda x: bridge.model(x, training=False), autograph=False, reduce_retracing=True)
    Observed.observing = True
    try:
        for x in batches:
            look(tf.constant(x, tf.float32))
    finally:
        Observed.observing = False


def freeze_statistics(bridge: Bridge) -> None:
    """Let batch norm use its moving statistics in training too, and keep them; a graph traced before does not know."""
    for node in bridge.plan.nodes:
        if isinstance(node.layer, Norm):
            node.layer.frozen = True
