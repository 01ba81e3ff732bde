"""Every network under Keras' JAX and PyTorch backends, against TensorFlow.

    make conformance-backends                        # what is not in the table yet; hours
    python -m tests.conformance.backends resnet18    # this network again

Each backend has a process of its own, with the weights that the first one wrote.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

import keras_inception as ki
from keras_inception.layers import deep_graph
from keras_inception.outputs import MAIN
from keras_inception.registry import Architecture, get

from . import qat
from .table import LIMIT, Row, Table

OTHERS = "jax", "torch"
IMAGES = 4
RATE, SMOOTHING, WEIGHT = 1e-3, 0.1, 0.4
FORWARD = 1e-4  # the largest difference of a logit, as a share of the largest logit
STEP = 1e-3  # the same of the logits after a training step, and of its loss


def measure(architecture: Architecture) -> Row:
    row: Row = {"input": side_of(architecture)}
    with tempfile.TemporaryDirectory() as name:
        own = _answers("tensorflow", architecture, Path(name))
        for backend in OTHERS:
            found = _answers(backend, architecture, Path(name))
            row[backend] = _distance(found["before"], own["before"])
            row[f"{backend} step"] = max(_distance(found[key], own[key]) for key in ("loss", "after"))
    good = all(row[backend] <= FORWARD and row[f"{backend} step"] <= STEP for backend in OTHERS)
    return row | {"ok": "yes" if good else "no"}


def side_of(architecture: Architecture) -> int:
    """The smallest side that runs with auxiliary heads."""
    return max(qat.input_side(architecture), 139 if architecture.aux_heads else 0)


def _distance(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def _answers(backend: str, architecture: Architecture, folder: Path) -> dict[str, np.ndarray]:
    command = [sys.executable, "-m", "tests.conformance.backends", "--answers", architecture.name, str(folder)]
    environment = os.environ | {"KERAS_BACKEND": backend}
    subprocess.run(command, check=True, timeout=LIMIT, env=environment)
    with np.load(folder / f"{backend}.npz") as answers:
        return dict(answers)


# ----------------------------------------------------------------------------------------------- in a backend's process


def write_answers(architecture: Architecture, folder: Path) -> None:
    """The logits of images before and after a step of training with the callbacks, and its loss."""
    backend = keras.config.backend()
    heads = {"aux_heads": True} if architecture.aux_heads else {}
    side = side_of(architecture)
    keras.utils.set_random_seed(0)
    with deep_graph():
        shape = (side, side, architecture.input_shape[-1])
        model = architecture.build(input_shape=shape, classifier_activation=None, **heads)
        _weigh(model, folder / "weights.npz")
        answers = {"before": _logits(model)}
        for layer in model.layers:
            if hasattr(layer, "rate"):  # what is dropped differs by backend
                layer.rate = 0.0
        model.compile(keras.optimizers.SGD(RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        callbacks = [ki.LabelSmoothing(SMOOTHING)]
        if len(model.outputs) > 1:
            callbacks.append(ki.AuxiliaryHeads(WEIGHT, ki.fade(2)))
        for callback in callbacks:
            callback.set_model(model)  # JAX and PyTorch build the loss before they tell callbacks the model
        history = model.fit(
            _images(model), np.arange(IMAGES), batch_size=IMAGES, epochs=1, shuffle=False, verbose=0,
            callbacks=callbacks,
        )  # fmt: skip
        answers |= {"loss": np.array(history.history["loss"]), "after": _logits(model)}
    np.savez(folder / f"{backend}.npz", **answers)


def _weigh(model: keras.Model, file: Path) -> None:
    """Give the model the weights of the file, which the first backend writes."""
    if file.exists():
        with np.load(file) as arrays:
            for i, variable in enumerate(model.weights):
                variable.assign(arrays[f"arr_{i}"])
        return
    qat.condition(model)
    np.savez(file, *(keras.ops.convert_to_numpy(variable) for variable in model.weights))


def _logits(model: keras.Model) -> np.ndarray:
    outputs = model.predict_on_batch(_images(model))
    return outputs[MAIN] if isinstance(outputs, dict) else outputs


def _images(model: keras.Model) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(IMAGES, *model.input_shape[1:])).astype(np.float32)


TABLE = Table(
    module="tests.conformance.backends",
    path=Path(__file__).with_suffix(".md"),
    title="Networks under JAX and PyTorch",
    notes=(
        "`make conformance-backends` measures the rows that are missing. The same seeded weights under each backend of "
        f"Keras, {IMAGES} images.",
        "**jax**, **torch**: the largest difference of a logit to TensorFlow's, as a share of the largest.",
        "**step**: the same after a step of `fit` with `LabelSmoothing`, and `AuxiliaryHeads` where there are some, or "
        "of the step's loss if that differs more; nothing is dropped.",
        f"**ok**: at most {FORWARD} and {STEP}.",
    ),
    columns=("input", "jax", "jax step", "torch", "torch step"),
    packages=("tensorflow", "keras", "jax", "torch"),
    measure=measure,
)

if __name__ == "__main__":
    if sys.argv[1] == "--answers":
        write_answers(get(sys.argv[2]), Path(sys.argv[3]))
    else:
        TABLE.main()
