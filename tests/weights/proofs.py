"""Every record of the catalogue, proven on a file that its reference implementation wrote."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_inception import create_model
from keras_inception.weights import Checkpoint, checkpoint_of, checkpoints
from keras_inception.weights.download import file_name
from tests.parity.compare import BAR, MOVES, SPREAD

from . import keras_reference
from .exchange import Reference

# -------------------------------------------------------------------------------------------------- the publishers' own


def _torchvision(model: str, kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if "scale" in kwargs:
        return f"shufflenet_v2_x{kwargs['scale']}".replace(".", "_"), {}
    name = {"alexnet_owt": "alexnet", "inception_v1_bn": "googlenet"}.get(model, model)
    slow_to_initialise = name.startswith(("googlenet", "inception", "vgg"))
    return name, {"init_weights": False} if slow_to_initialise else {}


def _timm(model: str, kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if "alpha" in kwargs:
        return f"{model.replace('_', '')}_{round(100 * kwargs['alpha']):03}", {}
    return {"nasnet_large": "nasnetalarge"}.get(model, model), {}


def _legacy(model: str, kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return f"legacy_{model}", {}


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
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "xception": "Xception",
}


def _keras(model: str, kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return KERAS[model], dict(kwargs)


# layout -> the library, and the name and arguments of a network in it
REFERENCES: dict[str, tuple[str, Callable[[str, Mapping[str, Any]], tuple[str, dict[str, Any]]]]] = {
    "torchvision": ("torchvision", _torchvision),
    "timm": ("timm", _timm),
    "cadene": ("timm", _legacy),
    "keras": ("tf_keras", _keras),
}
NAMED = ("pytorchcv", "tf2cv")  # publishers whose files' names begin with the network's
SIZES = {"vgg": 224, "alexnet": 224, "zfnet": 224, "inception": 107, "xception": 96, "nasnet": 96, "squeezenet": 96}
AUXILIARY = {  # what a network answers with auxiliary heads, in the reference's order, and the size that they need
    "inception_v1_bn": (("predictions", "aux_2", "aux_1"), 160),
    "inception_v3": (("predictions", "aux_1"), 299),
}


# ----------------------------------------------------------------------------------------------------------- the proofs


@dataclass(frozen=True)
class Proof:
    """What is the same for the records of one network, of one publisher: names, shapes, numerics."""

    records: tuple[Checkpoint, ...]

    @property
    def record(self) -> Checkpoint:
        return self.records[0]

    @property
    def id(self) -> str:
        return "-".join((self.record.layout, self.record.model, *map(str, self.trained.values())))

    @property
    def trained(self) -> dict[str, Any]:
        """The builder's arguments that another network of that name would have otherwise."""
        return {k: v for k, v in self.record.kwargs.items() if k != "aux_heads"}

    @property
    def reference(self) -> tuple[str, dict[str, Any]]:
        if self.record.layout in NAMED:
            return f"{self.record.layout}:{Path(self.record.urls[0]).name.split('-')[0]}", {}
        if self.record.layout == "facenet":
            return "facenet_pytorch:InceptionResnetV1", {"classify": True, "num_classes": self.record.classes}
        library, names = REFERENCES[self.record.layout]
        name, kwargs = names(self.record.model, self.trained)
        return f"{'keras_applications' if name.startswith('ResNeXt') else library}:{name}", kwargs

    @property
    def outputs(self) -> tuple[str, ...]:
        return AUXILIARY[self.record.model][0] if self.record.kwargs.get("aux_heads") else ("predictions",)

    @property
    def shape(self) -> tuple[int, int, int]:
        if self.record.layout in NAMED:  # their last pool has the size of its map
            return self.record.preprocessing.input_shape
        size = next((size for name, size in SIZES.items() if self.record.model.startswith(name)), 64)
        size = AUXILIARY[self.record.model][1] if len(self.outputs) > 1 else size
        return size, size, 3


def proofs() -> list[Proof]:
    """One for each network, publisher, and set of arguments."""
    groups: dict[tuple[Any, ...], list[Checkpoint]] = {}
    for record in checkpoints():
        key = (record.layout, record.model, record.numerics, *record.kwargs.items())
        groups.setdefault(key, []).append(record)
    return [Proof(tuple(records)) for records in groups.values()]


@dataclass(frozen=True)
class Result:
    """What a proof found."""

    model: keras.Model
    path: Path
    version: str
    difference: float  # the largest, of a logit
    spread: tuple[float, ...]  # the reference's logits' standard deviations
    moves: float  # what another picture changes a logit by, at least for one

    @property
    def ok(self) -> bool:
        sane = all(SPREAD[0] <= s <= SPREAD[1] for s in self.spread)
        return self.difference <= BAR and self.moves >= MOVES and sane


def prove(proof: Proof, references: Mapping[str, Reference]) -> Iterator[Result]:
    """Write the reference's file, load it by its path as anyone would, compare the logits; one result, file and all."""
    keras.backend.clear_session()
    pictures = np.random.default_rng(0).standard_normal((4, *proof.shape)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        name = Path(proof.record.urls[0]).name if proof.record.urls else file_name(proof.record)
        path = Path(folder, name.removesuffix(".zip"))
        if proof.record.layout == "keras":
            logits, version = keras_reference.answer(*proof.reference, pictures, path)
            theirs = {"predictions": logits}
        else:
            reference, kwargs = proof.reference
            ask = references["tf2cv" if proof.record.layout == "tf2cv" else "torch"]
            theirs, version = ask(pictures, path, reference=reference, kwargs=kwargs, outputs=proof.outputs)
        heads = {"aux_heads": True} if len(proof.outputs) > 1 else {}
        model = create_model(
            proof.record.model, weights=path, input_shape=proof.shape, classifier_activation=None, **heads
        )
        if checkpoint_of(model) != proof.record:
            raise AssertionError(f"{path.name} was taken for {checkpoint_of(model).id}")
        outputs = model(pictures, training=False)
        own = {
            k: keras.ops.convert_to_numpy(v)
            for k, v in (outputs if isinstance(outputs, dict) else {"predictions": outputs}).items()
        }
        yield Result(
            model=model,
            path=path,
            version=version,
            difference=max(float(np.abs(own[k] - theirs[k]).max()) for k in proof.outputs),
            spread=tuple(float(theirs[k].std()) for k in proof.outputs),
            moves=min(float(np.abs(theirs[k][0] - theirs[k][1]).max()) for k in proof.outputs),
        )
