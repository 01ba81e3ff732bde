"""The Caffe side of a proof, run in a Python that has OpenCV 4: write a .caffemodel, return the logits of its network.

The networks are the authors' prototxts, which `python -m tests.weights.caffe_reference FOLDER` downloads with Caffe's
schema; the folder is then given in CAFFE_NETWORKS. OpenCV reads prototxt and .caffemodel by its own code.
"""

import importlib
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import cv2
import numpy as np
from google.protobuf import text_format
from grpc_tools import protoc

from .exchange import serve

CAFFE = "BVLC/caffe/9b891540183ddc834a02b2bd81b31afae71b2153"
ZOO = "natanielruiz/net-archive/4015675784efdef748912b646d7a01b7f6e592ee"  # a copy of the model zoo's gists
SOEAVER = "soeaver/caffe-model/49dc8e06f8bc19d91ee7912a901132122b3b6e1c/cls"
SQUEEZENET = "forresti/SqueezeNet/51147dc0681638c28aad593b9e923f3500117125"
SENET = "hujie-frank/SENet/0262d43d44c561fd53c3dba210cc8bacfc60500d/models"
HE = "KaimingHe/deep-residual-networks/a7026cb6d478e131b765b898c312e25f9f6dc031/prototxt"
DENSENET = "shicai/DenseNet-Caffe/d47f7b7292989a02dd853526f2faf9ceaaf23526"
SCHEMA = f"{CAFFE}/src/caffe/proto/caffe.proto"
# network -> its prototxt: owner/repository/commit/path
NETWORKS = {
    "lenet_iter_10000": f"{CAFFE}/examples/mnist/lenet",
    "bvlc_alexnet": f"{CAFFE}/models/bvlc_alexnet/deploy",
    "bvlc_reference_caffenet": f"{CAFFE}/models/bvlc_reference_caffenet/deploy",
    "bvlc_googlenet": f"{CAFFE}/models/bvlc_googlenet/train_val",
    "VGG_ILSVRC_16_layers": f"{ZOO}/vgg_ilsvrc_16/VGG_ILSVRC_16_layers_deploy",
    "VGG_ILSVRC_19_layers": f"{ZOO}/vgg_ilsvrc_19/VGG_ILSVRC_19_layers_deploy",
    "nin_imagenet": f"{ZOO}/nin_imagenet/train_val",
    "squeezenet_v1.0": f"{SQUEEZENET}/SqueezeNet_v1.0/deploy",
    "squeezenet_v1.1": f"{SQUEEZENET}/SqueezeNet_v1.1/deploy",
    "mobilenet": "shicai/MobileNet-Caffe/a0b0c46152e658559956158d7c2bf42bb029c09e/mobilenet_deploy",
    **{f"ResNet-{depth}-model": f"{HE}/ResNet-{depth}-deploy" for depth in (50, 101, 152)},
    **{f"DenseNet_{depth}": f"{DENSENET}/DenseNet_{depth}" for depth in (121, 161, 169, 201)},
    **{f"SE-{net}": f"{SENET}/SE-{net}" for net in ("BN-Inception", *(f"ResNet-{d}" for d in (50, 101, 152)))},
    **{net: f"{SENET}/{net}" for net in ("SE-ResNeXt-50", "SE-ResNeXt-101", "SENet-154")},
    **{net: f"{SOEAVER}/resnext/deploy_{net}" for net in ("resnext50-32x4d", "resnext101-32x4d", "resnext101-64x4d")},
    "wrn50-2": f"{SOEAVER}/wider-resnet/deploy_wrn50-2",
    **{net: f"{SOEAVER}/inception/deploy_{net}" for net in ("inception-v3", "inception-v4", "inception-resnet-v2")},
    "xception": f"{SOEAVER}/inception/deploy_xception",
}
OUTPUTS = ("Softmax", "SOFTMAX", "SoftmaxWithLoss", "SOFTMAX_LOSS")
LEFT_OUT = ("Data", "DATA", "Input", "Accuracy", "ACCURACY", *OUTPUTS)
Shape = tuple[int, int, int]


def load(folder: Path) -> None:
    """Download the prototxts and the schema."""
    for path in (SCHEMA, *(f"{network}.prototxt" for network in NETWORKS.values())):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with urlopen(f"https://raw.githubusercontent.com/{path}") as response:
            file.write_bytes(response.read())


def caffe_pb2(folder: Path) -> Any:
    """The classes of Caffe's schema."""
    with tempfile.TemporaryDirectory() as build:
        protoc.main(["protoc", f"-I{(folder / SCHEMA).parent}", f"--python_out={build}", "caffe.proto"])
        sys.path.insert(0, build)
        return importlib.import_module("caffe_pb2")


def kind(layer: Any) -> str:
    """The type of a layer; of the form of 2014 the name of its number."""
    return layer.type if isinstance(layer.type, str) else type(layer).LayerType.Name(layer.type)


def pair(given: Any, field: str) -> tuple[int, int]:
    """A size that is given once, or for each side."""
    sides = f"{field.removesuffix('_size')}_h", f"{field.removesuffix('_size')}_w"
    if given.HasField(sides[0]):
        return getattr(given, sides[0]), getattr(given, sides[1])
    value = getattr(given, field)
    value = (value or [0 if field == "pad" else 1]) if not isinstance(value, int) else [value]
    return value[0], value[-1]


def out_shape(layer: Any, shapes: list[Shape]) -> Shape:
    """The shape of a layer's output."""
    name = kind(layer).upper().replace("_", "")
    c, h, w = shapes[-1 if name == "AXPY" else 0]
    if name.startswith("CONVOLUTION"):
        given = layer.convolution_param
        sizes = [
            (side + 2 * pad - kernel) // stride + 1
            for side, pad, kernel, stride in zip(
                (h, w), pair(given, "pad"), pair(given, "kernel_size"), pair(given, "stride"), strict=True
            )
        ]
        return given.num_output, *sizes
    if name == "POOLING":
        given = layer.pooling_param
        if given.global_pooling:
            return c, 1, 1
        rounds = math.floor if given.round_mode == given.FLOOR else math.ceil
        sizes = []
        for side, pad, kernel, stride in zip(
            (h, w), pair(given, "pad"), pair(given, "kernel_size"), pair(given, "stride"), strict=True
        ):
            size = rounds((side + 2 * pad - kernel) / stride) + 1
            sizes.append(size - 1 if pad and (size - 1) * stride >= side + pad else size)
        return c, *sizes
    if name == "INNERPRODUCT":
        return layer.inner_product_param.num_output, 1, 1
    return (sum(shape[0] for shape in shapes) if name == "CONCAT" else c), h, w


def weigh(layers: Sequence[Any], data: Shape) -> None:
    """Give random weights of order one; where activations are normalised across channels, these are of order 50."""
    rng = np.random.default_rng(0)
    scale = 50.0 if any(kind(layer) == "LRN" for layer in layers) else 1.0
    shapes, first = {"data": data}, True
    scaled = {layer.top[0] for layer in layers if kind(layer) == "Scale"}
    sums = [scaled & set(layer.bottom) for layer in layers if kind(layer) in ("Eltwise", "Axpy")]
    paths = {path for ends in sums if len(ends) == 1 for path in ends}  # beside the identity
    gates = {bottom for layer in layers if kind(layer) == "Sigmoid" for bottom in layer.bottom}
    rectified = {bottom for layer in layers if kind(layer) in ("ReLU", "RELU") for bottom in layer.bottom}
    again = {layer.bottom[0] for layer in layers if kind(layer) == "Convolution"} - rectified
    for layer in layers:
        inputs = [shapes[bottom] for bottom in layer.bottom if bottom in shapes]
        out = out_shape(layer, inputs) if inputs else data
        shapes |= dict.fromkeys(layer.top, out)
        name = kind(layer).upper().replace("_", "")
        blobs: list[np.ndarray] = []
        if name.startswith("CONVOLUTION") or name == "INNERPRODUCT":
            dense = name == "INNERPRODUCT"
            given = layer.inner_product_param if dense else layer.convolution_param
            c, h, w = inputs[0]
            shape = (out[0], c * h * w) if dense else (out[0], c // given.group, *pair(given, "kernel_size"))
            gain = (scale if first else 1.0) * (0.25 / scale if out[0] in (10, 1000) else 1.0)
            halved = 1 if layer.top[0] in again else 2  # by a ReLU
            blobs = [gain * rng.normal(0, math.sqrt(halved / math.prod(shape[1:])), shape)]
            if given.bias_term:
                open_gate = 2.0 if layer.top[0] in gates else 0.0
                blobs.append(rng.normal(open_gate, 0.1 if out[0] in (10, 1000) else 0.1 * scale, out[0]))
            first = False
        elif name == "BATCHNORM":
            factor = 100.0
            blobs = [factor * rng.normal(0, 0.1, out[0]), factor * rng.uniform(0.6, 1.6, out[0]), np.array([factor])]
        elif name == "SCALE" and len(layer.bottom) == 1:
            share = 0.1 if layer.top[0] in paths else 1.0  # or deep networks would overflow
            blobs = [share * rng.uniform(0.75, 1.25, out[0]), rng.normal(0, 0.1, out[0])]
        for array in blobs:
            store(layer, array.astype("float32"))


def store(layer: Any, array: np.ndarray) -> None:
    """Add an array to a layer, with four axes in the form of 2014."""
    blob = layer.blobs.add()
    if isinstance(layer.type, str):
        blob.shape.dim.extend(array.shape)
    else:
        shape = (1,) * (4 - array.ndim) + array.shape
        blob.num, blob.channels, blob.height, blob.width = shape
    blob.data.extend(array.ravel().tolist())


def producers(layers: Sequence[Any]) -> list[str]:
    """The name of the last layer that writes what each softmax reads; without a softmax the last layer's."""
    writer: dict[str, str] = {}
    found = []
    for layer in layers:
        if kind(layer) in OUTPUTS:
            found.append(writer[layer.bottom[0]])
        writer |= dict.fromkeys(layer.top, layer.name)
    return list(dict.fromkeys(found)) or [layers[-1].name]


def without_axpy(layers: Sequence[Any]) -> Iterator[Any]:
    """The layers with SENet's own Axpy, gate * path + shortcut, as three that all of Caffe has.

    OpenCV 4.14 reads Axpy too, with another result.
    """
    for layer in layers:
        if kind(layer) != "Axpy":
            yield layer
            continue
        gate, path, shortcut = layer.bottom
        flat, gated = (f"{layer.name}/{part}" for part in ("flat", "gated"))
        reshape = type(layer)(name=flat, type="Reshape", bottom=[gate], top=[flat])
        reshape.reshape_param.shape.dim.extend([0, 0])
        scale = type(layer)(name=gated, type="Scale", bottom=[path, flat], top=[gated])
        scale.scale_param.axis, scale.scale_param.bias_term = 0, False
        yield from (reshape, scale)
        yield type(layer)(name=layer.name, type="Eltwise", bottom=[gated, shortcut], top=layer.top)


def answer(request: Mapping[str, Any], images: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
    file = FOLDER / f"{NETWORKS[request['reference'].partition(':')[2]]}.prototxt"
    text = file.read_text()
    net = SCHEMAS.NetParameter()
    text_format.Merge(text.replace("ceil_mode: false", "round_mode: FLOOR"), net, allow_unknown_field=True)
    everything = net.layers or net.layer
    x = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    outputs = producers(everything)
    kept = [layer for layer in everything if kind(layer) not in LEFT_OUT]
    axpy = any(kind(layer) == "Axpy" for layer in kept)
    if axpy or any(layer.include for layer in everything):  # is for training: without its data and losses
        deploy = SCHEMAS.NetParameter(name=net.name, input=["data"], input_dim=x.shape)
        (deploy.layers if net.layers else deploy.layer).extend(without_axpy(kept))
        text = text_format.MessageToString(deploy)
    weigh(kept, x.shape[1:])
    trained = SCHEMAS.NetParameter(name=net.name)
    (trained.layers if net.layers else trained.layer).extend(kept)
    Path(request["path"]).write_bytes(trained.SerializeToString())
    with tempfile.TemporaryDirectory() as folder:
        prototxt = Path(folder, "net.prototxt")
        prototxt.write_text(text)
        network = cv2.dnn.readNetFromCaffe(str(prototxt), request["path"])
        network.setInput(x)
        found = [output.reshape(len(x), -1) for output in network.forward(outputs)]
    logits = dict(zip(request["outputs"], reversed(found), strict=True))
    return logits, f"opencv {cv2.__version__}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        load(Path(sys.argv[1]))
    else:
        FOLDER = Path(os.environ["CAFFE_NETWORKS"])
        SCHEMAS = caffe_pb2(FOLDER)
        serve(answer)
