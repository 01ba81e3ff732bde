"""Rules that drop what inference does not need: layers for training, linear activations, layers that only pad.

Another writes Keras' operations as the layers that compute the same.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from keras_inception.layers import DropPath
from keras_inception.models.nasnet import ScheduledDropPath

from .graph import Cast, Node, is_integer

# Layers that return their input in inference. RandomCrop is no augmentation in inference: it crops to the centre.
AUGMENTATION = (
    *(kind for name, kind in vars(layers).items() if name.startswith("Random") and name != "RandomCrop"),
    *(layers.AugMix, layers.CutMix, layers.MixUp, layers.RandAugment),
)
IN_TRAINING = (
    *AUGMENTATION,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.ActivityRegularization,
    DropPath,
    ScheduledDropPath,
)


def without_training_layer(node: Node) -> Node | None:
    """Drop a layer that returns its input in inference, such as dropout. One that is an output stays, for its name."""
    # Keras records RandomFlip with training=True, whatever it was called with.
    augments = type(node.layer) in AUGMENTATION and len(node.sources) == 1
    return node.sources[0] if (augments or node.is_a(*IN_TRAINING)) and not node.is_output else None


def without_identity(node: Node) -> Node | None:
    """Drop a linear activation. One that is an output stays, for its name."""
    linear = node.is_a(layers.Activation) and node.layer.activation is keras.activations.linear
    return node.sources[0] if (linear or node.is_a(layers.Identity)) and not node.is_output else None


def operation_as_layer(node: Node) -> Node | None:
    """Write one of Keras' operations, such as `x * 2`, as a layer; what only trains layers can then take it."""
    operation = node.layer
    if isinstance(operation, Cast) and not is_integer(operation.dtype):
        return node.sources[0]
    kind = type(operation).__name__
    if kind == "CustomScaleLayer":  # of Inception-ResNet v2 in keras.applications
        shortcut, branch = node.sources
        scaled = Node(layers.Rescaling(operation.scale), [branch], branch.shape, f"{node.name}_scale")
        return Node(layers.Add(), [shortcut, scaled], node.shape, node.name)
    if not isinstance(operation, keras.Operation) or isinstance(operation, layers.Layer):
        return None
    if kind == "Cast" and "float" in operation.dtype:
        return None if node.is_output else node.sources[0]
    layer = _as_activation(kind, operation) or _as_arithmetic(kind, node)
    return Node(layer, node.sources, node.shape, node.name) if layer else None


def _as_activation(kind: str, operation: Any) -> Any:
    names = {"Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Tanh": "tanh", "Silu": "silu"}
    names |= {"HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu"}
    if kind == "Softmax":
        return layers.Softmax(operation.axis)
    return layers.Activation(names[kind]) if kind in names else None


def _as_arithmetic(kind: str, node: Node) -> Any:
    """The layer of a sum, a difference, a product or a quotient."""
    if kind == "Negative":
        return layers.Rescaling(-1.0)
    if node.call is None or len(node.call.arguments) != 2:
        return None
    if len(node.sources) == 2:
        return {"Add": layers.Add, "Multiply": layers.Multiply}.get(kind, lambda: None)()
    first, second = node.call.arguments
    reverse = second is node.call.inputs[0]
    constant = np.asarray(first if reverse else second, np.float32)
    if constant.size > 1 and constant.shape != (node.channels,):
        return None
    factor: Any
    summand: Any
    match kind:
        case "Add":
            factor, summand = np.float32(1), constant
        case "Subtract":
            factor, summand = (np.float32(-1), constant) if reverse else (np.float32(1), -constant)
        case "Multiply":
            factor, summand = constant, np.float32(0)
        case "TrueDivide" | "Divide" if not reverse:
            factor, summand = 1 / constant, np.float32(0)
        case _:
            return None
    return layers.Rescaling(factor.tolist(), summand.tolist())


def pad_in_layer(node: Node) -> Node | None:
    """Replace a zero padding and a "valid" layer by a "same" layer, where that pads the same sides by as much.

    A max pool ignores its own padding, but not zeros in its input. After a ReLU there is no difference.
    """
    kinds = layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.MaxPooling2D
    if not node.is_a(*kinds) or node.layer.padding != "valid" or node.layer.data_format != "channels_last":
        return None
    [pad] = node.sources
    if not pad.is_a(layers.ZeroPadding2D) or len(pad.readers) > 1:
        return None
    [before] = pad.sources
    if isinstance(node.layer, layers.MaxPooling2D) and not before.is_a(layers.ReLU):
        return None
    for zeros, size, window, stride in zip(
        pad.layer.padding, before.shape[1:3], _window(node.layer), node.layer.strides, strict=True
    ):
        if not _is_same(zeros, size, window, stride):
            return None
    layer = type(node.layer).from_config(node.layer.get_config() | {"padding": "same"})
    return Node(layer, [before], node.shape, node.name, node.values())


def _window(layer: Any) -> tuple[int, ...]:
    if isinstance(layer, layers.MaxPooling2D):
        return layer.pool_size
    return tuple(1 + (k - 1) * d for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True))


def _is_same(zeros: tuple[int, int], size: int | None, window: int, stride: int) -> bool:
    """Whether windows over a padded side lie where "same" puts them. Further zeros may be out of their reach."""
    if size is None:  # only with stride 1 it is the same for every size
        return stride == 1 and zeros == ((window - 1) // 2, window // 2)
    count = -(-size // stride)
    needed = max(0, (count - 1) * stride + window - size)
    return (
        zeros[0] == needed // 2
        and zeros[1] >= needed - needed // 2
        and (size + sum(zeros) - window) // stride + 1 == count
    )
