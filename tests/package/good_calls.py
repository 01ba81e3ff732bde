"""A good call of every public function and class: what `test_documented_errors` makes wrong, an argument at a time."""

from __future__ import annotations

import dataclasses
import inspect
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

import keras_inception
from keras_inception import data, early_exit, evaluation, export, weights
from keras_inception.data import Dataset, Split
from keras_inception.preprocessing import Preprocessing
from keras_inception.registry import Architecture
from keras_inception.run import Run
from keras_inception.weights.record import loaded

BUILDERS = ["LeNet5", "NiNCIFAR", "SqueezeNet1_1"]  # all have one signature: some stand for all
LABELS = ("a", "b")


class Given:
    """Arguments that are right, each made when it is first asked for; all files are in `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._count = count()

    @cached_property
    def images(self) -> Path:
        """A folder of two classes, of four images each."""
        rng = np.random.default_rng(0)
        for label in LABELS:
            (self.folder / "images" / label).mkdir(parents=True)
            for i in range(4):
                pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(self.folder / "images" / label / f"{i}.png")
        return self.folder / "images"

    @cached_property
    def image(self) -> Path:
        return self.images / "a" / "0.png"

    @cached_property
    def dataset(self) -> Dataset:
        return data.load_folder(self.images, validation=0.5)

    @property
    def split(self) -> Split:
        return self.dataset.train

    @cached_property
    def pixels(self) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)

    @cached_property
    def tf_data(self) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((self.pixels, np.arange(8) % 2))

    @cached_property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(size=(16, 16))

    @cached_property
    def run(self) -> Run:
        """A finished run of a network of two convolutions, whose weights are random."""
        run = Run(
            builder="crossed_heads",
            kwargs={"classes": 2, "aux_heads": True},
            labels=LABELS,
            preprocessing=self.preprocessing,
            data={"folder": str(self.images), "validation": 0.5},
            path=self.folder / "run",
        )
        run.path.mkdir()
        keras_inception.create_model(run.builder, **run.kwargs).save(run.path / "model.keras")
        run.save()
        return run

    @cached_property
    def model(self) -> keras.Model:
        return self.run.model()

    @property
    def network(self) -> dict[str, Any]:
        """What exports take, loaded already."""
        return {"model_or_run": self.model, "labels": LABELS, "preprocessing": self.preprocessing}

    @cached_property
    def inputs(self) -> np.ndarray:
        return np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 3)).astype("float32")

    @cached_property
    def exits(self) -> early_exit.Cascade:
        network = keras_inception.create_model("crossed_exits", classes=2)
        return early_exit.Cascade(network)

    @cached_property
    def tflite(self) -> Path:
        return export.to_tflite(**self.network, path=self.folder / "float32.tflite")

    @cached_property
    def exported_run(self) -> Run:
        export.export_run(self.run, ["tflite"], overwrite=True)
        return self.run

    @cached_property
    def checkpoint(self) -> weights.Checkpoint:
        return weights.find("mobilenet_v2", "imagenet")

    @cached_property
    def published(self) -> keras.Model:
        """A network that passes for one with published weights."""
        network = keras_inception.LeNet5()
        loaded[network] = self.checkpoint
        return network

    @property
    def architecture(self) -> Architecture:
        return keras_inception.model_info("crossed")

    @cached_property
    def agreement(self) -> export.Agreement:
        return export.agreement(self.tflite, self.run, self.inputs)

    @property
    def trial(self) -> export.Trial:
        return export.Trial(file="int8", loss=0.5, holds=False, top1=0.5, agreement=0.5, bytes=1)

    @cached_property
    def curve(self) -> early_exit.Curve:
        return early_exit.curve(self.exits, self.inputs, self.inputs, np.array([0, 1, 0, 1]), budgets=2)

    @cached_property
    def hosted(self) -> Path:
        """A .tflite file of a registered network."""
        network = keras_inception.create_model("mobilenet_v1", input_shape=(32, 32, 3), alpha=0.25)
        return export.to_tflite(network, self.folder / "hosted.tflite")

    @cached_property
    def hosted_network(self) -> keras.Model:
        return keras_inception.create_model("mobilenet_v1", input_shape=(32, 32, 3), alpha=0.25)

    @cached_property
    def torch_network(self) -> keras.Model:
        return keras_inception.SqueezeNet1_1(input_shape=(64, 64, 3))

    @cached_property
    def phone_kit(self) -> Path:
        """A kit of one model, whose benchmark has failed on a phone."""
        kit = self.folder / "kit"
        (kit / "models").mkdir(parents=True)
        (kit / "results" / "phone").mkdir(parents=True)
        (kit / "models" / "model.json").write_text('{"kit": "keras_inception"}')
        shutil.copyfile(self.tflite, kit / "models" / "float32.tflite")
        head = {
            "device": "x",
            "chip": "x",
            "android": "15",
            "file": "float32.tflite",
            "accelerator": "cpu",
            "exit": "1",
        }
        (kit / "results" / "phone" / "1.log").write_text("".join(f"# {k}: {v}\n" for k, v in head.items()))
        return kit

    @cached_property
    def probabilities(self) -> np.ndarray:
        return np.full((4, 2), 0.5, np.float32)

    def new(self, name: str) -> Path:
        """A path at which nothing is, in a folder of its own."""
        folder = self.folder / f"new_{next(self._count)}"
        folder.mkdir()
        return folder / name


Good: TypeAlias = Callable[[Given], dict[str, Any]]


def images_and(**more: Any) -> Good:
    return lambda g: {"images": g.images, **more}


def trained(**more: Any) -> Good:
    """A network, and images to train it with."""
    return lambda g: {**g.network, "data": g.dataset, "training": export.FineTuning(epochs=1), **more}


def written(name: str, **more: Any) -> Good:
    return lambda g: {**g.network, "path": g.new(name), **more}


GOOD: Mapping[str, Good] = {
    # the networks, and what is done with them
    "Distillation": lambda g: {"weight": 0.5, "temperature": 4.0},
    "InputError": lambda g: {},
    "Preprocessing": lambda g: {"size": (16, 16)},
    "Run": lambda g: {"builder": "lenet5", "kwargs": {}, "labels": LABELS, "preprocessing": g.preprocessing},
    "create_model": lambda g: {"name": "lenet5"},
    "decode_predictions": lambda g: {"predictions": g.probabilities, "model": g.model},
    "dilated": lambda g: {"model": g.model, "output_stride": 2},
    "evaluate": lambda g: {"predictor": g.run, "images": g.images},
    "fade": lambda g: {"epochs": 3},
    "feature_pyramid": lambda g: {"model": g.model, "strides": [2, 4]},
    "load_folder": lambda g: {"path": g.images},
    "model_info": lambda g: {"name": "lenet5"},
    "preprocess_input": lambda g: {"images": np.zeros((2, 20, 20, 3), np.uint8), "model": g.model},
    "strip_auxiliary": lambda g: {"model": g.model},
    "train": lambda g: {"images": g.images, "out": g.new("run"), "model": "crossed", "epochs": 1},
    # analysis
    "analysis.blueprint": lambda g: {"build": keras_inception.LeNet5},
    "analysis.checkpoint_rows": lambda g: {"architecture": g.architecture},
    "analysis.described": lambda g: {"architecture": g.architecture},
    "analysis.endpoint_costs": lambda g: {"model": g.model},
    "analysis.grad_cam": lambda g: {"model": g.model, "images": g.inputs, "classes": np.array([0, 1, 0, 1])},
    "analysis.info_table": lambda g: {"architecture": g.architecture},
    "analysis.last_map": lambda g: {"model": g.model},
    "analysis.layer_costs": lambda g: {"model": g.model},
    "analysis.total": lambda g: {"costs": g.model},
    # data
    "data.Dataset": lambda g: {"train": g.dataset.train, "val": g.dataset.val},
    "data.Split": lambda g: {"sources": np.array(["x"]), "labels": np.array([0]), "classes": ("a",)},
    "data.as_dataset": images_and(),
    "data.as_images": images_and(),
    "data.decode": lambda g: {"source": g.image},
    "data.fingerprint": lambda g: {"dataset": g.dataset},
    "data.from_arrays": lambda g: {
        "images": g.pixels,
        "labels": np.arange(8) % 2,
        "validation": 0.5,
    },
    "data.from_tf_data": lambda g: {"train": g.tf_data, "validation": 0.5},
    "data.is_data_file": lambda g: {"path": g.image},
    "data.is_named": lambda g: {"path": g.images},
    "data.is_tf_data": images_and(),
    "data.lasting": lambda g: {"path": g.images},
    "data.listed": images_and(),
    "data.load_images": lambda g: {"path": g.images, "classes": LABELS},
    "data.open_shards": lambda g: {"path": g.images},
    "data.write_shards": lambda g: {"images": g.images, "out": g.new("shards"), "validation": 0.5},
    "diagram.draw": lambda g: {"model": g.model, "path": g.new("network.svg")},
    # early exits
    "early_exit.Cascade": lambda g: {"model": g.exits.model},
    "early_exit.calibrate": lambda g: {"model": g.exits, "images": g.inputs, "budget": g.exits.macs[-1]},
    "early_exit.curve": lambda g: {
        "model": g.exits,
        "held_out": g.inputs,
        "images": g.inputs,
        "labels": np.array([0, 1, 0, 1]),
        "budgets": 2,
    },
    "early_exit.plot": lambda g: {"curve": g.curve, "path": g.new("curve.png")},
    # evaluation
    "evaluation.BatchFunction": lambda g: {"preprocessing": g.preprocessing, "run": lambda x: {}},
    "evaluation.Ensemble": lambda g: {"members": [g.run]},
    "evaluation.KerasPredictor": lambda g: {"model": g.model, "labels": LABELS, "preprocessing": g.preprocessing},
    "evaluation.predict": lambda g: {"predictor": g.run, "images": g.image},
    "evaluation.predict_many": lambda g: {"predictor": g.run, "images": g.images, "out": g.new("answers.csv")},
    "evaluation.scores": lambda g: {"probabilities": g.probabilities, "labels": np.array([0, 1, 0, 1])},
    "evaluation.summary": lambda g: {
        "outputs": {evaluation.predictor.MAIN: g.probabilities},
        "labels": np.array([0, 1, 0, 1]),
    },
    # export
    "export.CalibrationSet": lambda g: {"inputs": g.inputs},
    "export.TargetMissed": lambda g: {
        "search": export.QuantizationSearch(
            path=g.folder, measure="top-1", target=0.9, n=4, keras_top1=1.0, trials=(g.trial, g.trial), chosen=None
        )
    },
    "export.agreement": lambda g: {"path": g.tflite, "model_or_run": g.run, "data": g.inputs},
    "export.agreements": lambda g: {"path": g.tflite, "model_or_run": g.run, "data": g.inputs},
    "export.benchmark": lambda g: {"paths": [g.tflite], "seconds": 0.1, "threads": 1},
    "export.cluster": trained(),
    "export.doctor": lambda g: {"path": g.tflite},
    "export.export_run": lambda g: {"run": g.run, "formats": ["tflite"], "folder": g.new("exports")},
    "export.exported": lambda g: {"run": g.exported_run},
    "export.layer_errors": lambda g: {"path": g.tflite, "model": g.model, "inputs": [g.inputs[:1]]},
    "export.misses": lambda g: {"agreement": g.agreement},
    "export.open_predictor": lambda g: {"path": g.tflite},
    "export.optimize": lambda g: {"model": g.model},
    "export.phone_results": lambda g: {"folder": g.phone_kit},
    "export.prune": trained(),
    "export.quantize_aware": lambda g: {**trained()(g), "path": g.new("qat.tflite")},
    "export.quantize_to_target": lambda g: {
        **written("target.tflite", max_drop=1.0, trials=2)(g),
        "calibration": g.split,
        "held_out": g.dataset.val,
    },
    "export.to_keras_h5": lambda g: {
        "model_or_run": g.hosted_network,
        "path": g.new("keras.h5"),
        "network": "mobilenet_v1",
    },
    "export.to_npu": lambda g: {"file": g.tflite, "target": "qualcomm:SM8750", "folder": g.new("npu")},
    "export.to_onnx": written("model.onnx"),
    "export.to_openvino": written("openvino"),
    "export.to_phone": lambda g: {**g.network, "folder": g.new("phone")},
    "export.to_saved_model": written("saved_model"),
    "export.to_tflite": written("float32.tflite"),
    "export.to_torch": lambda g: {
        "model_or_run": g.torch_network,
        "path": g.new("torchvision.safetensors"),
        "layout": "torchvision",
        "network": "squeezenet1_1",
    },
    "export.to_web": lambda g: {**g.network, "folder": g.new("web")},
    "push_to_hub": lambda g: {"run": g.run, "address": "hf://somebody/something", "licence": "mit"},
    # weights
    "weights.Checkpoint": lambda g: {f.name: getattr(g.checkpoint, f.name) for f in dataclasses.fields(g.checkpoint)},
    "weights.checkpoint_of": lambda g: {"model": g.published},
    "weights.choose": lambda g: {"network": "lenet5", "weights": None, "chosen": {}, "own": {}, "numerics": {}},
    "weights.copy_weights": lambda g: {"source": g.model, "target": g.model, "name": "the run"},
    "weights.find": lambda g: {"model": "mobilenet_v2", "tag": "imagenet"},
    "weights.fit_classes": lambda g: {"model": g.model, "labels": LABELS},
    "weights.from_tflite": lambda g: {"model": g.hosted_network, "path": g.hosted},
    "weights.load": lambda g: {"model": g.model, "source": g.run.path / "model.keras"},
    "weights.recognise_tflite": lambda g: {"path": g.hosted},
}


# Where work of seconds begins, after the checks: the default tests go no further.
EXPORT = "keras_inception.export"
WORK = {
    "train": "keras_inception.training.train._start",
    "push_to_hub": "keras_inception.hub.client",
    "export.benchmark": f"{EXPORT}.runtimes.benchmark._worker_of",
    "export.cluster": f"{EXPORT}.quantization.qat.fine_tune._compressed",
    "export.export_run": f"{EXPORT}.formats.to_tflite",
    "export.prune": f"{EXPORT}.quantization.qat.fine_tune._compressed",
    "export.quantize_aware": f"{EXPORT}.quantization.qat.fine_tune._quantizing",
    "export.quantize_to_target": f"{EXPORT}.quantization.search.to_tflite",
    "export.to_onnx": f"{EXPORT}.onnx.pixels_to_outputs",
    "export.to_openvino": f"{EXPORT}.openvino.pixels_to_outputs",
    "export.to_phone": f"{EXPORT}.phone.to_tflite",
    "export.to_saved_model": f"{EXPORT}.saved_model._signatures",
    "export.to_tflite": f"{EXPORT}.tflite.convert._converted",
    "export.to_web": f"{EXPORT}.web._library",
}


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public function and class by its name, "train" or "data.load_folder", once; of the builders, some."""
    builders, seen = set(keras_inception.models.__all__) - set(BUILDERS), set()
    for room in ["", *keras_inception._ROOMS]:
        module = getattr(keras_inception, room) if room else keras_inception
        for name in sorted(set(getattr(module, "__all__", ())) - builders):
            thing = getattr(module, name)
            if callable(thing) and not getattr(thing, "_is_protocol", False) and id(thing) not in seen:
                seen.add(id(thing))
                yield (f"{room}.{name}" if room else name), thing


def is_record(thing: Any) -> bool:
    """Whether a class keeps what it is given, as it is: it checks nothing, and functions make it."""
    if issubclass(thing, tuple):
        return True
    return dataclasses.is_dataclass(thing) and not hasattr(thing, "__post_init__")


def good_call(name: str, thing: Callable[..., Any], given: Given) -> dict[str, Any]:
    """Arguments with which the call works.

    Raises:
        LookupError: the defaults do not suffice, and `GOOD` has no call.
    """
    if name in GOOD:
        return GOOD[name](given)
    needed = [p.name for p in parameters(thing) if p.default is p.empty]
    if needed and not (inspect.isclass(thing) and is_record(thing)):
        raise LookupError(f"{name} needs {', '.join(needed)}: give it a good call in {Path(__file__).name}")
    return dict.fromkeys(needed)


def parameters(thing: Callable[..., Any]) -> list[inspect.Parameter]:
    """Those that are given by their names."""
    try:
        found = inspect.signature(thing).parameters.values()
    except ValueError:  # an exception's is not known
        return []
    return [p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
