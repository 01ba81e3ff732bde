"""Proofs for the published checkpoints, each on a file that the reference implementation wrote."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import keras
import numpy as np

from keras_inception import create_model, export
from keras_inception.export.weights_files import layouts_of
from keras_inception.weights import Checkpoint, checkpoint_of, checkpoints, recognise_tflite
from keras_inception.weights.download import file_name
from keras_inception.weights.labels import devkit_places
from tests.parity.compare import BAR, MOVES, SPREAD

from . import keras_reference
from .exchange import Reference

# -------------------------------------------------------------------------------------------------- the publishers' own


Network = tuple[str, dict[str, Any]]  # "library:name" of a network, its arguments


def _torchvision(record: Checkpoint) -> Network:
    if "scale" in record.kwargs:
        return f"torchvision:shufflenet_v2_x{record.kwargs['scale']}".replace(".", "_"), {}
    name = {"alexnet_owt": "alexnet", "inception_v1_bn": "googlenet"}.get(record.model, record.model)
    slow_to_initialise = name.startswith(("googlenet", "inception", "vgg"))
    return f"torchvision:{name}", {"init_weights": False} if slow_to_initialise else {}


def _timm(record: Checkpoint) -> Network:
    if "alpha" in record.kwargs:
        return f"timm:{record.model.replace('_', '')}_{round(100 * record.kwargs['alpha']):03}", {}
    name = {"nasnet_large": "nasnetalarge", "resnet50_v2": "resnetv2_50", "resnet101_v2": "resnetv2_101"}.get(
        record.model, record.model
    )
    return f"timm:{name}", {}


def _legacy(record: Checkpoint) -> Network:
    return f"timm:legacy_{record.model}", {}


CADENE = {
    "inception_v2": "bninception",
    "inception_v4": "inceptionv4",
    "inception_resnet_v2": "inceptionresnetv2",
    "nasnet_mobile": "nasnetamobile",
    "nasnet_large": "nasnetalarge",
    "seresnext50_32x4d": "se_resnext50_32x4d",
    "seresnext101_32x4d": "se_resnext101_32x4d",
}


def _cadene(record: Checkpoint) -> Network:
    return f"pretrainedmodels:{CADENE.get(record.model, record.model)}", {"num_classes": record.classes}


KERAS = {
    "inception_v3": "InceptionV3",
    "inception_resnet_v2": "InceptionResNetV2",
    "nasnet_mobile": "NASNetMobile",
    "nasnet_large": "NASNetLarge",
    "mobilenet_v1": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "resnext50_32x4d": "ResNeXt50",
    "resnext101_32x4d": "ResNeXt101",
    "densenet121": "DenseNet121",
    "densenet169": "DenseNet169",
    "densenet201": "DenseNet201",
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "resnet152": "ResNet152",
    "resnet50_v2": "ResNet50V2",
    "resnet101_v2": "ResNet101V2",
    "resnet152_v2": "ResNet152V2",
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "xception": "Xception",
}


def _keras(record: Checkpoint) -> Network:
    library = "keras_applications" if record.model.startswith("resnext") else "tf_keras"
    return f"{library}:{KERAS[record.model]}", dict(record.kwargs)


def _osmr(record: Checkpoint) -> Network:
    return f"{record.layout}:{Path(record.urls[0]).name.split('-')[0]}", {}


def _facenet(record: Checkpoint) -> Network:
    return "facenet_pytorch:InceptionResnetV1", {"classify": True, "num_classes": record.classes}


SLIM = {
    "inception_v1_bn": "inception_v1",
    **{f"resnet{depth}": f"resnet_v1_{depth}" for depth in (50, 101, 152)},
    **{f"resnet{depth}_v2": f"resnet_v2_{depth}" for depth in (50, 101, 152)},
    **{f"vgg{depth}": f"vgg_{depth}" for depth in (16, 19)},
    "mobilenet_v2": "mobilenet",
    "nasnet_mobile": "build_nasnet_mobile",
    "nasnet_large": "build_nasnet_large",
}


def _slim(record: Checkpoint) -> Network:
    """As published: files of 2016 in the first format; those of MobileNet have moving averages and more."""
    alpha = record.kwargs.get("alpha")
    width = {} if alpha is None else {"depth_multiplier": alpha}
    if record.model == "mobilenet_v2" and alpha < 1:
        width["finegrain_classification_mode"] = True  # the last convolution is not narrower
    archive = Path(record.urls[0]).name.removesuffix(".tgz").removesuffix(".tar.gz")
    name = SLIM.get(record.model, record.model)
    file = {"checkpoint": f"{archive}.ckpt", "averaged": bool(width), "format": 1 if "_2016_" in archive else 2}
    return f"slim:{name}", {"num_classes": record.classes, **width, **file}


def _caffe(record: Checkpoint) -> Network:
    return f"caffe:{Path(record.page_file or urlsplit(record.urls[0]).path).stem}", {}


# publisher -> the network of a record in the reference implementation
REFERENCES: dict[str, Callable[[Checkpoint], Network]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "legacy": _legacy,
    "cadene": _cadene,
    "keras": _keras,
    "pytorchcv": _osmr,
    "tf2cv": _osmr,
    "facenet": _facenet,
    "slim": _slim,
    "caffe": _caffe,
}
# Publishers whose networks take one input size, because their last pool has the size of the map.
WHOLE = ("pytorchcv", "tf2cv", "cadene", "caffe")
SIZES = {"vgg": 224, "alexnet": 224, "zfnet": 224, "inception": 107, "xception": 96, "nasnet": 96, "squeezenet": 96}
WRITTEN = {"timm": ".safetensors", **dict.fromkeys(("torchvision", "cadene", "pytorchcv", "facenet"), ".pth")}
HOSTED = "hosted.tflite"
AUXILIARY = {  # the outputs of a network with auxiliary heads, in the reference's order, and the size they need
    "inception_v1": (("predictions", "aux_2", "aux_1"), 224),
    "inception_v1_bn": (("predictions", "aux_2", "aux_1"), 160),
    "inception_v3": (("predictions", "aux_1"), 299),
    "inception_v4": (("predictions", "aux_1"), 299),
    "inception_resnet_v2": (("predictions", "aux_1"), 299),
}


# ----------------------------------------------------------------------------------------------------------- the proofs


def publisher(record: Checkpoint) -> str:
    """The layout, except for timm's files in Cadene's layout."""
    return "legacy" if record.tag.startswith("legacy_") else record.layout


@dataclass(frozen=True)
class Proof:
    """What the records of one network by one publisher share: names, shapes, numerics."""

    records: tuple[Checkpoint, ...]

    @property
    def record(self) -> Checkpoint:
        return self.records[0]

    @property
    def id(self) -> str:
        strides = ("1x1",) if self.record.numerics == "pytorchcv" else ()
        return "-".join((publisher(self.record), self.record.model, *map(str, self.trained.values()), *strides))

    @property
    def trained(self) -> dict[str, Any]:
        """The builder's arguments that distinguish networks of the same name."""
        return {k: v for k, v in self.record.kwargs.items() if k != "aux_heads"}

    @property
    def reference(self) -> Network:
        return REFERENCES[publisher(self.record)](self.record)

    @property
    def is_written(self) -> bool:
        """Whether the layout is one that `export` writes."""
        return self.record.layout in layouts_of(self.record.model)

    @property
    def is_hosted(self) -> bool:
        """Whether TensorFlow hosts the network as a .tflite file, which is recognised."""
        return self.record.layout == "slim" and self.record.model.startswith(("inception", "mobilenet"))

    @property
    def outputs(self) -> tuple[str, ...]:
        return AUXILIARY[self.record.model][0] if self.record.kwargs.get("aux_heads") else ("predictions",)

    @property
    def shape(self) -> tuple[int, int, int]:
        if publisher(self.record) in WHOLE:
            return self.record.preprocessing.input_shape
        size = next((size for name, size in SIZES.items() if self.record.model.startswith(name)), 64)
        size = AUXILIARY[self.record.model][1] if len(self.outputs) > 1 else size
        return size, size, 3


def proofs() -> list[Proof]:
    """One for each network, publisher, and set of arguments."""
    groups: dict[tuple[Any, ...], list[Checkpoint]] = {}
    for record in checkpoints():
        key = (publisher(record), record.model, record.numerics, *record.kwargs.items())
        groups.setdefault(key, []).append(record)
    return [Proof(tuple(records)) for records in groups.values()]


@dataclass(frozen=True)
class Result:
    """The result of a proof."""

    model: keras.Model
    path: Path
    version: str
    difference: float  # the largest of a logit
    written: (
        float | None
    )  # the largest difference after the reference has loaded a file that we wrote; None: not written
    hosted: float | None  # the largest difference after we have loaded a .tflite file that the reference wrote
    spread: tuple[float, ...]  # standard deviations of the reference's logits
    moves: float  # the smallest change of the logits from one image to another

    @property
    def ok(self) -> bool:
        sane = all(SPREAD[0] <= s <= SPREAD[1] for s in self.spread)
        return max(self.difference, self.written or 0.0, self.hosted or 0.0) <= BAR and self.moves >= MOVES and sane


def prove(proof: Proof, references: Mapping[str, Reference]) -> Iterator[Result]:
    """Write the reference's file, load it by its path, compare the logits; the file exists until the next result.

    Then, where we write the layout, the reverse: the reference loads our file of the same network.
    """
    keras.backend.clear_session()
    images = np.random.default_rng(0).standard_normal((4, *proof.shape)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        record = proof.record
        name = record.page_file or Path(urlsplit(record.urls[0]).path if record.urls else file_name(record)).name
        path = Path(folder, name.removesuffix(".zip"))
        if proof.record.layout == "keras":
            logits, version = keras_reference.answer(*proof.reference, images, path)
            theirs = {"predictions": logits}
        else:
            reference, kwargs = proof.reference
            ask = references.get(proof.record.layout, references.get("torch"))
            hosted = {"tflite": str(Path(folder, HOSTED))} if proof.is_hosted else {}
            theirs, version = ask(images, path, reference=reference, kwargs=kwargs, outputs=proof.outputs, **hosted)
        heads = {"aux_heads": True} if len(proof.outputs) > 1 else {}
        model = create_model(
            proof.record.model, weights=path, input_shape=proof.shape, classifier_activation=None, **heads
        )
        if checkpoint_of(model) != proof.record:
            raise AssertionError(f"{path.name} was taken for {checkpoint_of(model).id}")
        if proof.record.classes == 1001:  # our network has no background class
            theirs = {k: v[:, 1:] for k, v in theirs.items()}
        if proof.record.class_order == "ilsvrc":
            theirs = {k: v[:, list(devkit_places())] for k, v in theirs.items()}
        outputs = model(images, training=False)
        own = {
            k: keras.ops.convert_to_numpy(v)
            for k, v in (outputs if isinstance(outputs, dict) else {"predictions": outputs}).items()
        }
        written = _written(proof, references, model, images, own, Path(folder)) if proof.is_written else None
        yield Result(
            written=written,
            hosted=_hosted(proof, images, theirs["predictions"], Path(folder)) if proof.is_hosted else None,
            model=model,
            path=path,
            version=version,
            difference=max(float(np.abs(own[k] - theirs[k]).max()) for k in proof.outputs),
            spread=tuple(float(theirs[k].std()) for k in proof.outputs),
            moves=min(float(np.abs(theirs[k][0] - theirs[k][1]).max()) for k in proof.outputs),
        )


def _written(
    proof: Proof,
    references: Mapping[str, Reference],
    model: keras.Model,
    images: np.ndarray,
    own: Mapping[str, np.ndarray],
    folder: Path,
) -> float:
    """The largest difference between our logits and those of the reference with the file that we write."""
    record, (reference, kwargs) = proof.record, proof.reference
    if record.layout == "keras":
        path = export.to_keras_h5(model, folder / "written.h5")
        return max(
            float(np.abs(own["predictions"] - x).max()) for x in keras_reference.loaded(reference, kwargs, images, path)
        )
    path = export.to_torch(model, folder / f"written{WRITTEN[record.layout]}", layout=record.layout)
    kwargs = {k: 1000 if v == 1001 else v for k, v in kwargs.items()}
    theirs, _ = references["torch"](
        images, path, reference=reference, kwargs=kwargs, outputs=proof.outputs, written=True
    )
    return max(float(np.abs(own[k] - theirs[k]).max()) for k in proof.outputs)


def _hosted(proof: Proof, images: np.ndarray, theirs: np.ndarray, folder: Path) -> float:
    """The largest difference between the reference's logits and ours with its float .tflite file.

    Of the quantised file each kernel must be that of the float file within half a step of its scale.
    """
    float32, uint8 = (
        create_model(proof.record.model, weights=folder / name, classifier_activation=None)
        for name in (HOSTED, f"quant_{HOSTED}")
    )
    found = recognise_tflite(folder / HOSTED)
    if {k: v for k, v in found.arguments.items() if k in proof.trained} != proof.trained or not found.background:
        raise AssertionError(f"{proof.id} was taken for {found}")
    for layer in (layer for layer in float32.layers if hasattr(layer, "kernel")):
        exact, near = np.asarray(layer.kernel), np.asarray(uint8.get_layer(layer.name).kernel)
        step = (max(exact.max(), 0) - min(exact.min(), 0)) / 254
        if np.abs(exact - near).max() > 0.51 * step:
            raise AssertionError(f"{proof.id}: {layer.name} of the quantised file has other weights")
    return float(np.abs(np.asarray(float32(images, training=False)) - theirs).max())
