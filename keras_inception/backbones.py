"""Networks as the backbones of detection and segmentation: their maps at several strides, and dilated copies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import keras
from keras import layers

from .analysis.cost import strides as strides_of
from .arguments import checked
from .errors import InputError
from .layers import deep_graph
from .model_graph import Step, endpoints, steps
from .outputs import backbone_of, classifiers, main_network

# What has a window of several positions: a convolution can be dilated, Keras' pools cannot.
CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
POOLS = (layers.MaxPooling2D, layers.AveragePooling2D)


@checked
@deep_graph()
def feature_pyramid(model: keras.Model, strides: Sequence[int] = (4, 8, 16, 32)) -> keras.Model:
    """The last map of each stride, over the network's own layers and weights.

    A map is found in the graph: the last row of the network's table (layer of a model made elsewhere) with that stride
    that every path from the image to the result passes. Where rows read maps from before the last reduction too, as in
    NASNet and MSDNet, it is the last row of the stride. Classifiers and auxiliary heads are not part of the model.

    Args:
        model: a functional model, with or without its top, for images of any size.
        strides: distances in pixels between neighbouring positions, each of them a map that the network has.

    Returns:
        A functional model: images -> {"stride_4": N x H/4 x W/4 x C, ...}, in the order of `strides`, which it keeps as
        `strides`; `channels` are the maps' C. Where the network does not pad ("valid"), a map is a little smaller.

    Raises:
        InputError: the network has no map of a stride (the message lists those it has), or is not functional.
    """
    body = _body(model)
    found = _maps(body)
    if not strides or not set(strides) <= found.keys():
        raise InputError(f"{model.name} has maps of the strides {_listed(found)}; got {_listed(strides) or 'none'}")
    maps = {f"stride_{stride}": found[stride].tensors[0] for stride in strides}
    pyramid = keras.Model(body.inputs[0] if len(body.inputs) == 1 else body.inputs, maps, name=f"{model.name}_pyramid")
    pyramid.strides, pyramid.channels = tuple(strides), tuple(map_.shape[-1] for map_ in maps.values())
    return pyramid


@checked
@deep_graph()
def dilated(model: keras.Model, output_stride: int) -> keras.Model:
    """A copy whose maps end at `output_stride`: strides after it become dilation. Chen et al., 2017, "DeepLab".

    It has the same layers and weights under the same names. Its last map has the values of the network's at the
    positions that the network computes, and new ones between them. (With TensorFlow's padding the two grids coincide
    for sizes of 32 k + 1 pixels, DeepLab's 513 or 321, and are shifted by a few pixels for others. Squeeze-and-
    excitation takes its mean over the new positions too.)

    Args:
        model: a functional model, with or without its top.
        output_stride: a stride that the network has before its last one: usually 16 or 8.

    Returns:
        A functional model of the same structure; the weights are copied.

    Raises:
        InputError: the network has no such stride, or a layer has no dilated form (a pool with a window after the
            first reduction that is undone, or a layer that fixes its map's size).
    """
    body = _body(model)
    *allowed, last = _maps(body)
    if output_stride not in allowed:
        raise InputError(f"{model.name} ends at stride {last} and can end at {_listed(allowed)}; got {output_stride!r}")
    changes = _dilation(steps(model), output_stride)

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config(layer.get_config() | changes.get(layer.name, {}))

    try:
        copy = keras.models.clone_model(model, clone_function=copied)
        for layer in model.layers:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    except ValueError as error:
        raise InputError(
            f"{model.name} cannot end at stride {output_stride}: a layer fixes the size of its map; build the network "
            "with include_top=False and without input_shape"
        ) from error
    return copy


def _body(model: keras.Model) -> keras.Model:
    """Images -> the last map, or what the main classifier takes."""
    return backbone_of(model) if classifiers(model) else main_network(model)


def _maps(body: keras.Model) -> dict[int, Step]:
    """The last map of each stride, the finest first."""
    calls = steps(body)
    distances = strides_of(calls)
    last_read = list(range(len(calls)))
    for i, call in enumerate(calls):
        for source in call.sources:
            if calls[source].shape:  # a random draw of FractalNet's is no map
                last_read[source] = i
    passed = [0, *accumulate(last_read, max)]  # up to each step: the last one that reads a step before it
    ends, common = {}, {}
    for i in {row: i for i, row in enumerate(endpoints([call.name for call in calls]))}.values():
        vertical, horizontal = distances[i]
        is_map = len(calls[i].shape) == 3 and calls[i].sources  # not the images
        if is_map and vertical == horizontal and isinstance(vertical, int):
            ends[vertical] = calls[i]
            if passed[i] <= i:
                common[vertical] = calls[i]
    chained = common and all(stride in common for stride in ends if stride > min(common))
    return dict(sorted((common if chained else ends).items()))


def _dilation(calls: Sequence[Step], output_stride: int) -> dict[str, dict[str, Any]]:
    """For each layer after `output_stride` what changes in its configuration."""
    strides = strides_of(calls)
    changes: dict[str, dict[str, Any]] = {}
    for call, (after, _) in zip(calls, strides, strict=True):
        before = min((strides[i][0] for i in call.sources), default=1)
        if before < output_stride or after == output_stride or before == math.inf:
            continue
        rate, layer = before // output_stride, call.layer
        if isinstance(layer, POOLS):
            if rate > 1 and max(layer.pool_size) > 1:
                raise InputError(
                    f"{layer.name!r} pools at stride {before}, and Keras has no dilated pool: end at {before} or later"
                )
            changes[layer.name] = {"strides": (1, 1)}
        elif isinstance(layer, CONVOLUTIONS):
            dilation = tuple(rate * d for d in layer.dilation_rate)
            changes[layer.name] = {"strides": (1, 1), "dilation_rate": dilation}
        elif isinstance(layer, layers.ZeroPadding2D):
            changes[layer.name] = {"padding": tuple((rate * a, rate * b) for a, b in layer.padding)}
    return changes


def _listed(strides: Any) -> str:
    return ", ".join(map(str, strides))
