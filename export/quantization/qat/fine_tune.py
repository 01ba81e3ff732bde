"""Fine-tuning for phones: quantisation-aware training, pruning and weight clustering.

Each function takes a float network and labelled images, trains a Keras 2 copy of the network under TFMOT, and returns
what it measured. They combine in this order, and each preserves what the ones before it did:

    smaller = prune(run, "images", sparsity=0.5)
    smaller = cluster(smaller, "images", clusters=16)
    quantize_aware(smaller, "images", "small.tflite")
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import keras
import numpy as np

from keras_inception.arguments import Count, checked
from keras_inception.errors import InputError
from keras_inception.files import new_output
from keras_inception.layers import deep_graph
from keras_inception.preprocessing import Preprocessing
from keras_inception.run import Run

from ...agreement import Agreement, agreement
from ...inputs import Exportable, ModelOrRun, as_convolution
from ...optimize import TRAINING_RULES, rewrite
from ...tflite.convert import Edge
from ...tflite.flatbuffer import is_tflite
from ...tflite.metadata import About, Record, with_record
from .settings import FineTuning, Preserve, TrainingData

if TYPE_CHECKING:
    from .compression import Clustering, Pruning
    from .trainer import CopyTrainer, TrainingImages

Pattern: TypeAlias = Literal["magnitude", "2:4"]

DEFAULT = FineTuning()
TYPICAL = 200  # training images with which the ranges are first measured
COMPARED = 500  # test or validation images on which the file is compared with the float network, at most


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """What quantisation-aware training wrote and measured.

    `history` has a row per epoch: the training loss, and the accuracy and loss of the fake-quantised network on the
    validation images. Epoch 0 is the network before training, fake-quantised. `agreement` compares the file with the
    float network, on test images where there are some. `zipped` is the file's size in a zip archive, in bytes.
    """

    path: Path
    bytes: int
    zipped: int
    history: tuple[dict[str, float], ...]
    agreement: Agreement

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return asdict(self) | {"path": str(self.path)}


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """A pruned or clustered Keras 3 network and what was measured. It can be given where a model or a run is asked for.

    `sparsity` is the share of zeros in the kernels that were pruned or clustered, `values` the most different values in
    one of them. `zipped` is (before, after): the size of all weights in a zip archive, in bytes. `history` is that of
    `Quantized`, for the float network. `preserve` is what a later training keeps.
    """

    model: keras.Model
    sparsity: float
    values: int
    zipped: tuple[int, int]
    history: tuple[dict[str, float], ...]
    preserve: Preserve
    source: Exportable


@checked
@deep_graph()
def quantize_aware(
    model_or_run: ModelOrRun | Compressed,
    data: TrainingData | None,
    path: str | Path,
    *,
    training: FineTuning = DEFAULT,
    teacher: str | Path | Run | None = None,
    preserve: Preserve | None = None,
    preprocessing: Preprocessing | None = None,
    labels: tuple[str, ...] | None = None,
    edge: Edge = "float32",
    batch: Count = 1,
    checkpoints: str | Path | None = None,
    overwrite: bool = False,
) -> Quantized:
    """Fine-tune a trained network with its weights and activations rounded to int8, and export the .tflite file.

    The file is as that of `to_tflite(quantization="int8")`, with metadata and normalisation, and int8 throughout. The
    ranges start with those of training images, so a short training is enough. Batch norm's statistics are frozen in the
    second half of it, and throughout in layers that are not `trainable`; dropout and stochastic depth are left out. The
    epoch with the best validation accuracy is kept, which may be the network before training. Of several outputs the
    main one is trained.

    The same call after an interruption resumes after the last complete epoch.

    Args:
        model_or_run: a trained functional model, a run or a run directory; or the result of `prune` or `cluster`.
        data: labelled images, a folder or a `data.Dataset`, which is split as for a training; or a pair
            (inputs, labels) of arrays as the network takes them, (n, *input_shape) and (n,), which are also measured
            on. None takes the images that the run was trained on.
        path: the file to write.
        training: epochs, batch size, learning rate, augmentation, seed, and how much a teacher counts.
        teacher: as for `training.train`: a network whose probabilities are learned beside the labels of images; the run
            itself keeps the file near the float network.
        preserve: keep the kernels' zeros ("sparsity"), shared values ("clusters") or both. After `prune` and `cluster`
            it is known.
        preprocessing: what the network was trained with; a run knows it.
        labels: class names in the order of the outputs; a run knows them.
        edge: as for `to_tflite`.
        batch: as for `to_tflite`.
        checkpoints: a folder for the state until the file is written, by default `PATH.training` beside it.
        overwrite: replace a file at `path`, after the new one is complete.

    Raises:
        InputError: the network has a layer that cannot be trained quantised, or an argument cannot be used, or `path`
            exists or cannot be written; nothing is left.
    """
    need_tfmot()
    from .trainer import TrainingImages

    path = Path(path)
    with new_output(path, overwrite=overwrite, kind="TFLite file", is_kind=is_tflite) as part:
        source, kept = _source(model_or_run, preprocessing, labels)
        images = TrainingImages.of(data, source, pixels=source.preprocessing is not None, teacher=teacher)
        state = Path(checkpoints) if checkpoints else path.with_name(f"{path.name}.training")
        trainer = _quantizing(source, images, training, preserve or kept, state)
        history, content = _trained(trainer, source, edge, batch)
        part.write_bytes(content)
    trainer.clear()
    # Of arrays what was given: `images` may hold pixels.
    compared = (np.asarray(data[0]), np.asarray(data[1])) if isinstance(data, tuple) else images.held_out
    return Quantized(
        path=path,
        bytes=len(content),
        zipped=zipped(content),
        history=tuple(history),
        agreement=agreement(path, source.model, compared, limit=COMPARED),
    )


@checked
@deep_graph()
def prune(
    model_or_run: ModelOrRun | Compressed,
    data: TrainingData | None,
    *,
    sparsity: float = 0.5,
    pattern: Pattern = "magnitude",
    training: FineTuning = DEFAULT,
    teacher: str | Path | Run | None = None,
    preprocessing: Preprocessing | None = None,
    labels: tuple[str, ...] | None = None,
    checkpoints: str | Path | None = None,
) -> Compressed:
    """Fine-tune a trained network while the smallest weights of its convolutions and dense layers become zero.

    With the pattern "magnitude" the share of zeros in each kernel grows to `sparsity` during the first half of the
    training; with "2:4" two of each four consecutive weights are zero from the start, and `sparsity` is 0.5. Depthwise
    kernels, biases and batch norm are not pruned. The file becomes smaller in a zip archive, as in an app, but not by
    itself.

    Args:
        model_or_run: as for `quantize_aware`.
        data: as for `quantize_aware`.
        sparsity: the share of zeros, between 0 and 1.
        pattern: "magnitude" or "2:4".
        training: as for `quantize_aware`.
        teacher: as for `quantize_aware`.
        preprocessing: as for `quantize_aware`.
        labels: as for `quantize_aware`.
        checkpoints: a folder for the state of the last epoch, from which the same call resumes after an interruption.

    Raises:
        InputError: the network has a layer that cannot be copied, or an argument cannot be used.
    """
    if not 0 < sparsity < 1 or (pattern == "2:4" and sparsity != 0.5):
        raise InputError(
            f"sparsity is the share of zeros, between 0 and 1, and 0.5 for the pattern 2:4; got {sparsity}"
        )
    need_tfmot()
    from .compression import Pruning
    from .trainer import TrainingImages

    source, _ = _source(model_or_run, preprocessing, labels)
    images = TrainingImages.of(data, source, pixels=False, teacher=teacher)
    return _compressed(source, images, training, Pruning(sparsity, pattern), checkpoints)


@checked
@deep_graph()
def cluster(
    model_or_run: ModelOrRun | Compressed,
    data: TrainingData | None,
    *,
    clusters: int = 16,
    training: FineTuning = DEFAULT,
    teacher: str | Path | Run | None = None,
    preprocessing: Preprocessing | None = None,
    labels: tuple[str, ...] | None = None,
    checkpoints: str | Path | None = None,
) -> Compressed:
    """Fine-tune a trained network while each kernel of its convolutions and dense layers shares a few values.

    The zeros of a network that `prune` returned stay zeros, as one of the values. Depthwise kernels, biases and batch
    norm are not clustered.

    Args:
        model_or_run: as for `quantize_aware`.
        data: as for `quantize_aware`.
        clusters: how many values a kernel may have, 3 to 1024.
        training: as for `quantize_aware`.
        teacher: as for `quantize_aware`.
        preprocessing: as for `quantize_aware`.
        labels: as for `quantize_aware`.
        checkpoints: as for `prune`.

    Raises:
        InputError: the network has a layer that cannot be copied, or an argument cannot be used.
    """
    if isinstance(clusters, bool) or not isinstance(clusters, int) or not 3 <= clusters <= 1024:
        raise InputError(f"clusters is how many values a kernel may have, 3 to 1024; got {clusters!r}")
    need_tfmot()
    from .compression import Clustering
    from .trainer import TrainingImages

    source, kept = _source(model_or_run, preprocessing, labels)
    images = TrainingImages.of(data, source, pixels=False, teacher=teacher)
    return _compressed(source, images, training, Clustering(clusters, keep_zeros=kept == "sparsity"), checkpoints)


def zipped(content: bytes) -> int:
    """The size of some content in a zip archive, in bytes."""
    return len(zlib.compress(content, 6))


def need_tfmot() -> None:
    """Raise an InputError unless TFMOT is installed."""
    try:
        from . import tfmot  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"this needs TensorFlow Model Optimization ({error.name} is missing): pip install 'keras-inception[qat]'"
        ) from error


# ----------------------------------------------------------------------------------------------------------- internals


def _source(
    model_or_run: ModelOrRun | Compressed, preprocessing: Preprocessing | None, labels: tuple[str, ...] | None
) -> tuple[Exportable, Preserve | None]:
    """The network, and what to preserve of it."""
    if isinstance(model_or_run, Compressed):
        return model_or_run.source, model_or_run.preserve
    source = Exportable.of(model_or_run, labels=labels, preprocessing=preprocessing)
    if None in source.input_shape:
        raise InputError(
            f"the network takes {source.input_shape}, and its Keras 2 copy takes one size: give preprocessing=, or "
            "build the network with a fixed input_shape"
        )
    source = source.with_float_input()
    model = rewrite(source.model, TRAINING_RULES)[0]
    return replace(source, model=model, given=model), None


def _quantizing(
    source: Exportable, images: TrainingImages, training: FineTuning, preserve: Preserve | None, folder: Path
) -> CopyTrainer:
    """The trainer of a fake-quantised copy, whose ranges are measured unless a training is resumed."""
    from . import bridge, fake_quantized
    from .tfmot import quiet_tfmot
    from .trainer import CopyTrainer

    normalisation = as_convolution(source.preprocessing) if source.preprocessing else ()
    with quiet_tfmot():
        plan = bridge.plan(source.model, source.input_shape, normalisation)
        copy = fake_quantized.fake_quantized(plan, pixels=source.preprocessing is not None, preserve=preserve)
    trainer = CopyTrainer(copy, images, training, folder, ["int8", preserve])
    if not trainer.started:
        fake_quantized.observe(copy, images.typical(TYPICAL, training.batch_size))
    return trainer


def _trained(trainer: CopyTrainer, source: Exportable, edge: Edge, batch: int) -> tuple[list[dict[str, float]], bytes]:
    """Train a fake-quantised copy; its history and its .tflite file."""
    from .fake_quantized import freeze_statistics, measure_kernels
    from .int8_file import to_int8

    copy = trainer.copy

    def freeze_late(epoch: int) -> None:
        if epoch >= trainer.settings.epochs // 2:
            freeze_statistics(copy)
            copy.logits.train_function = None  # is traced again

    history = trainer.fit(before=freeze_late, after=lambda: measure_kernels(copy))
    record = Record(
        input="pixels" if source.preprocessing else "input", preprocessing=source.preprocessing, labels=source.labels
    )
    content = to_int8(copy.model, input_name=record.input, output_name=source.output_name, edge=edge, batch=batch)
    return history, with_record(content, record, About(name=source.model.name))


def _compressed(
    source: Exportable,
    images: TrainingImages,
    training: FineTuning,
    method: Pruning | Clustering,
    checkpoints: str | Path | None,
) -> Compressed:
    """Train a copy whose kernels a method compresses, and bring the weights back into a Keras 3 model."""
    from . import bridge
    from .tfmot import quiet_tfmot
    from .trainer import CopyTrainer

    steps = -(-len(images) // training.batch_size) * training.epochs
    with quiet_tfmot():
        copy = bridge.build(bridge.plan(source.model, source.input_shape), method.wrap(steps))
    trainer = CopyTrainer(copy, images, training, Path(checkpoints) if checkpoints else None, repr(method))
    first = method.counts_from(training.epochs)
    history = trainer.fit(callbacks=method.callbacks(), after=method.apply, first=first)
    method.apply()
    model = keras.models.clone_model(source.model)
    model.set_weights(source.model.get_weights())
    copy.weights_to(model)
    trainer.clear()
    kernels = method.kernels()
    return Compressed(
        model=model,
        sparsity=float(sum(np.sum(kernel == 0) for kernel in kernels) / sum(kernel.size for kernel in kernels)),
        values=max(len(np.unique(kernel)) for kernel in kernels),
        zipped=(_zipped_weights(source.model), _zipped_weights(model)),
        history=tuple(history),
        preserve=method.preserve,
        source=replace(source, model=model, given=model),
    )


def _zipped_weights(model: keras.Model) -> int:
    return zipped(b"".join(np.asarray(weight).tobytes() for weight in model.get_weights()))
