"""Read the weights of a Caffe network, a `.caffemodel`: a protocol buffer that lists layers and their arrays.

Only what a weight needs is described here, by the numbers of the fields in Caffe's caffe.proto; everything else in a
file is skipped. Both forms of a layer are read, that of 2014 (`layers`) and today's (`layer`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from ..errors import InputError, first_line

MODEL = ".caffemodel"

# message -> field -> (number, type, whether it is repeated). The numbers in an array are packed, which has the form of
# bytes, so that numpy takes them as they are.
SCHEMA: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Shape": {"dim": (1, "int64", True)},
    "Blob": {
        **{side: (i, "int32", False) for i, side in enumerate(("num", "channels", "height", "width"), 1)},
        "data": (5, "bytes", False),
        "shape": (7, "Shape", False),
        "double_data": (8, "bytes", False),
    },
    "OldLayer": {
        "bottom": (2, "string", True),
        "top": (3, "string", True),
        "name": (4, "string", False),
        "type": (5, "int32", False),
        "blobs": (6, "Blob", True),
    },
    "Layer": {
        "name": (1, "string", False),
        "type": (2, "string", False),
        "bottom": (3, "string", True),
        "top": (4, "string", True),
        "blobs": (7, "Blob", True),
    },
    "Net": {"layers": (2, "OldLayer", True), "layer": (100, "Layer", True)},
}
DENSE = ("InnerProduct", 14)  # its name, and its number in the form of 2014


def read_caffemodel(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a `.caffemodel`, "layer/variable" -> array; axes are (out, in, height, width) or (out, in).

    A convolution or dense layer has a `weight` and a `bias`. Batch norm has a `mean` and a `variance`, divided by the
    factor that Caffe keeps with their sums, and the `scale` and `shift` of the Scale layer that follows it.

    Raises:
        InputError: it is damaged, or of another kind.
    """
    net = _message("Net")()
    try:
        net.ParseFromString(path.read_bytes())
        return dict(_arrays([*net.layers, *net.layer]))
    except Exception as error:  # whatever a file of another kind raises as a protocol buffer
        raise InputError(f"{path} is not a complete Caffe model: {first_line(error)}") from error


def _arrays(layers: list[Any]) -> Iterator[tuple[str, np.ndarray]]:
    norms: dict[str, str] = {}  # the output of a batch norm -> its name, until another layer writes there
    for layer in layers:
        blobs = [_array(layer.name, blob) for blob in layer.blobs]
        norm = norms.get(layer.bottom[0]) if layer.type == "Scale" and layer.bottom else None
        for top in layer.top:
            norms.pop(top, None)
        if layer.type == "BatchNorm" and len(blobs) == 3:
            *sums, factor = blobs
            share = 1 / factor.item() if factor.item() else 0.0  # a network that was never trained has 0
            blobs = [array.reshape(-1) * np.float32(share) for array in sums]
            names = ("mean", "variance")
            norms |= dict.fromkeys(layer.top, layer.name)
        elif norm is not None:
            names = ("scale", "shift")
        else:
            names = ("weight", "bias")
            if layer.type in DENSE and blobs:
                blobs[0] = blobs[0].reshape(blobs[0].shape[-2:])  # files of 2014 have (1, 1, out, in)
        for i, array in enumerate(blobs):
            variable = names[i] if i < len(names) else str(i)
            yield f"{norm or layer.name}/{variable}", array.reshape(-1) if i else array


def _array(name: str, blob: Any) -> np.ndarray:
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else (blob.num, blob.channels, blob.height, blob.width)
    kind, content = (np.float64, blob.double_data) if blob.double_data else (np.float32, blob.data)
    if min(shape, default=0) < 0 or math.prod(shape) * np.dtype(kind).itemsize != len(content):
        raise ValueError(f"{name} is stated to be {'x'.join(map(str, shape))}, and has {len(content):,} bytes")
    return np.frombuffer(content, np.dtype(kind).newbyteorder("<")).reshape(shape).astype(np.float32)


def _message(name: str) -> Any:
    """The class of a message of the schema."""
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="caffemodel.proto", package="caffemodel", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, fields in SCHEMA.items():
        described = file.message_type.add(name=message)
        for field, (number, kind, repeated) in fields.items():
            described.field.add(
                name=field,
                number=number,
                label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL,
                **({"type_name": kind} if kind in SCHEMA else {"type": kinds.Type.Value(f"TYPE_{kind.upper()}")}),
            )
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffemodel.{name}"))
