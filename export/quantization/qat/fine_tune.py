"""Networks fine-tuned for what a phone does to them: quantisation-aware training, pruning, weight clustering.

Each takes a float network and labelled images, trains a twin of it under TFMOT, and gives what it measured. They
combine, in this order, and each keeps what the ones before it did:

    smaller = prune(run, "images", sparsity=0.5)
    smaller = cluster(smaller, "images", clusters=16)
    quantize_aware(smaller, "images", "small.tflite")
"""

from __future__ import annotations

import gc
import tempfile
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from keras_inception.data import Augmentation, Split
from keras_inception.errors import InputError
from keras_inception.files import new_output
from keras_inception.preprocessing import Preprocessing
from keras_inception.terminal import quiet

from ...agreement import Agreement, agreement
from ...inputs import ModelOrRun, Source, as_convolution
from ...tflite.flatbuffer import float_operators, is_tflite
from ...tflite.metadata import About, Record, with_record

if TYPE_CHECKING:
    from .fake_quantized import Preserve
    from .trainer import Data, Images, Settings

Pattern: TypeAlias = Literal["magnitude", "2:4"]

TYPICAL = 200  # training images by which ranges are first measured
COMPARED = 500  # held-out images that the file and the float network are compared on, at most


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """What quantisation-aware training made and measured.

    `history` has a row an epoch: the training loss, and the accuracy and loss of the fake-quantised network on the
    held-out images. Epoch 0 is the network as it came, rounded. `agreement` is of the file with the float network.
    `zipped` is the file's size in a zip archive, in bytes.
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
    """A pruned or clustered Keras 3 network and what was measured; it stands where a model or a run is asked for.

    `sparsity` is the share of zeros in the kernels that were pruned or clustered, `values` the most different values
    that one of them holds. `zipped` is (before, after): the size of all weights in a zip archive, in bytes. `history`
    is as of `Quantized`, of the float network. `preserve` is what a training after this one keeps.
    """

    model: keras.Model
    sparsity: float
    values: int
    zipped: tuple[int, int]
    history: tuple[dict[str, float], ...]
    preserve: Preserve
    source: Source


def quantize_aware(
    model_or_run: ModelOrRun | Compressed,
    data: Data | None,
    path: str | Path,
    *,
    epochs: int = 3,
    batch_size: int = 32,
    learning_rate: float = 1e-4,
    augmentation: Augmentation | None = None,
    preserve: Preserve | None = None,
    preprocessing: Preprocessing | None = None,
    labels: tuple[str, ...] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Quantized:
    """Fine-tune a trained network with its weights and activations rounded to int8, and export the .tflite file.

    The file is as that of `to_tflite(quantization="int8")`, metadata and normalisation included, and computes in int8
    throughout. Ranges start at what training images show, so that a short training is enough; batch norm's statistics
    are frozen in the second half of it, and throughout where the layer is not `trainable`; dropout and stochastic depth
    are left out. The epoch with the best held-out accuracy is kept, or the network as it came where that was better. Of
    several outputs the last exit is trained.

    Called again with the same arguments after an interruption it goes on behind the last whole epoch, whose state is in
    a folder `PATH.training` beside the file until that is done.

    Args:
        model_or_run: a trained functional model, a run or a run directory; or what `prune` or `cluster` gave.
        data: labelled images, a folder or a `data.Dataset`, of which a part is held out as in training; or a pair
            (inputs, labels) of arrays as the network takes them, (n, *input_shape) and (n,), which are then also what
            is measured on. None: those that the run was trained on.
        path: the file to make.
        epochs: how many times all images are seen.
        batch_size: images a step.
        learning_rate: Adam's at the first step; it falls to 0 along a cosine.
        augmentation: random changes of the training images; None for none.
        preserve: keep the kernels' zeros ("sparsity"), shared values ("clusters") or both; known of `prune`, `cluster`.
        preprocessing: what the network was trained with; a run knows it.
        labels: class names in the order of the outputs; a run knows them.
        seed: of the images' order.
        overwrite: replace a file at `path`, once the new one is whole.

    Raises:
        InputError: the network holds a layer that cannot be trained quantised, or an argument cannot be used, or
            `path` exists or cannot be written; nothing is left.
    """
    _need_tfmot()
    from . import bridge, fake_quantized
    from .tfmot import hushed
    from .trainer import Images, Lessons, Settings

    path = Path(path)
    settings = Settings(
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, augmentation=augmentation, seed=seed
    )
    with new_output(path, overwrite=overwrite, kind="TFLite file", is_kind=is_tflite) as part:
        source, kept = _source(model_or_run, preprocessing, labels)
        preserve = preserve or kept
        pixels = source.preprocessing is not None
        images = Images.of(data, source, pixels=pixels)
        before = as_convolution(source.preprocessing) if source.preprocessing else ()
        with hushed():
            plan = bridge.plan(source.model, source.input_shape, before)
            twin = fake_quantized.fake_quantized(plan, pixels=pixels, preserve=preserve)
        lessons = Lessons(twin, images, settings, path.with_name(f"{path.name}.training"), ["int8", preserve])
        if not lessons.started:
            fake_quantized.observe(twin, images.typical(TYPICAL, batch_size))

        def freeze_late(epoch: int) -> None:
            if epoch >= epochs // 2:
                fake_quantized.freeze_statistics(twin)
                twin.logits.train_function = None  # traced anew

        history = lessons.learn(before=freeze_late, after=lambda: fake_quantized.measure_kernels(twin))
        content = to_int8(twin.model, input_name="pixels" if pixels else "input", output_name=source.output_name)
        record = Record(input="pixels" if pixels else "input", preprocessing=source.preprocessing, labels=source.labels)
        content = with_record(content, record, About(name=source.model.name))
        part.write_bytes(content)
    lessons.clear()
    compared = images.held_out
    if not isinstance(compared, Split):
        compared = _as_given(data)
    return Quantized(
        path=path,
        bytes=len(content),
        zipped=zipped(content),
        history=tuple(history),
        agreement=agreement(path, source.model, compared, limit=COMPARED),
    )


def prune(
    model_or_run: ModelOrRun | Compressed,
    data: Data | None,
    *,
    sparsity: float = 0.5,
    pattern: Pattern = "magnitude",
    epochs: int = 3,
    batch_size: int = 32,
    learning_rate: float = 1e-4,
    augmentation: Augmentation | None = None,
    preprocessing: Preprocessing | None = None,
    labels: tuple[str, ...] | None = None,
    checkpoints: str | Path | None = None,
    seed: int = 0,
) -> Compressed:
    """Fine-tune a trained network while the smallest weights of its convolutions and dense layers become zero.

    With the pattern "magnitude" the share of zeros of each kernel grows to `sparsity` by the end of the first half of
    the training; with "2:4" two of each four consecutive ones are zero from the start, and `sparsity` is 0.5. Depthwise
    kernels, biases and batch norm are not pruned. The file becomes smaller in a zip archive, as an app is, and not by
    itself.

    `checkpoints` is a folder that keeps the state of the last epoch, from which the same call goes on after an
    interruption; the other arguments are as of `quantize_aware`.

    Raises:
        InputError: the network holds a layer that is not known, or an argument cannot be used.
    """
    if pattern not in ("magnitude", "2:4"):
        raise InputError(f"unknown pattern {pattern!r}; there are magnitude and 2:4")
    if not 0 < sparsity < 1 or (pattern == "2:4" and sparsity != 0.5):
        raise InputError(f"sparsity is the share of zeros, between 0 and 1, and 0.5 of the pattern 2:4; got {sparsity}")
    _need_tfmot()
    from .compression import Pruning

    given = _given(model_or_run, data, epochs, batch_size, learning_rate, augmentation, preprocessing, labels, seed)
    return _compressed(given, Pruning(sparsity, pattern), checkpoints)


def cluster(
    model_or_run: ModelOrRun | Compressed,
    data: Data | None,
    *,
    clusters: int = 16,
    epochs: int = 3,
    batch_size: int = 32,
    learning_rate: float = 1e-4,
    augmentation: Augmentation | None = None,
    preprocessing: Preprocessing | None = None,
    labels: tuple[str, ...] | None = None,
    checkpoints: str | Path | None = None,
    seed: int = 0,
) -> Compressed:
    """Fine-tune a trained network while each kernel of its convolutions and dense layers has only so many values.

    Of a network that `prune` gave the zeros stay zeros, as one of the values. Depthwise kernels, biases and batch norm
    are not clustered. The arguments are as of `prune`.

    Raises:
        InputError: the network holds a layer that is not known, or an argument cannot be used.
    """
    if isinstance(clusters, bool) or not isinstance(clusters, int) or not 3 <= clusters <= 1024:
        raise InputError(f"clusters is how many values a kernel may have, 3 to 1024; got {clusters!r}")
    _need_tfmot()
    from .compression import Clustering

    given = _given(model_or_run, data, epochs, batch_size, learning_rate, augmentation, preprocessing, labels, seed)
    return _compressed(given, Clustering(clusters, keep_zeros=given.preserve == "sparsity"), checkpoints)


# ----------------------------------------------------------------------------------------------------------- internals


@dataclass(frozen=True)
class _Given:
    """The arguments that `prune` and `cluster` share, checked."""

    source: Source
    preserve: Preserve | None
    images: Images
    settings: Settings


def _given(
    model_or_run: ModelOrRun | Compressed,
    data: Data | None,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    augmentation: Augmentation | None,
    preprocessing: Preprocessing | None,
    labels: tuple[str, ...] | None,
    seed: int,
) -> _Given:
    from .trainer import Images, Settings

    settings = Settings(
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, augmentation=augmentation, seed=seed
    )
    source, kept = _source(model_or_run, preprocessing, labels)
    return _Given(source, kept, Images.of(data, source, pixels=False), settings)


def _compressed(given: _Given, method: Any, checkpoints: str | Path | None) -> Compressed:
    from . import bridge
    from .tfmot import hushed
    from .trainer import Lessons

    source, settings = given.source, given.settings
    steps = -(-len(given.images) // settings.batch_size) * settings.epochs
    with hushed():
        twin = bridge.build(bridge.plan(source.model, source.input_shape), method.dress(steps))
    lessons = Lessons(twin, given.images, settings, Path(checkpoints) if checkpoints else None, repr(method))
    first = method.counts_from(settings.epochs)
    history = lessons.learn(callbacks=method.callbacks(), after=lambda: method.apply(twin), count_from=first)
    method.apply(twin)
    model = keras.models.clone_model(source.model)
    model.set_weights(source.model.get_weights())
    twin.weights_to(model)
    lessons.clear()
    kernels = method.kernels(twin)
    return Compressed(
        model=model,
        sparsity=float(sum(np.sum(kernel == 0) for kernel in kernels) / sum(kernel.size for kernel in kernels)),
        values=max(len(np.unique(kernel)) for kernel in kernels),
        zipped=(_zipped_weights(source.model), _zipped_weights(model)),
        history=tuple(history),
        preserve=method.preserve,
        source=replace(source, model=model, given=model),
    )


def _source(
    model_or_run: ModelOrRun | Compressed, preprocessing: Preprocessing | None, labels: tuple[str, ...] | None
) -> tuple[Source, Preserve | None]:
    if isinstance(model_or_run, Compressed):
        return model_or_run.source, model_or_run.preserve
    source = Source.of(model_or_run, labels=labels, preprocessing=preprocessing)
    if None in source.input_shape:
        raise InputError(
            f"the network takes {source.input_shape}, but its twin one size: give preprocessing=, or build the network "
            "for one input_shape"
        )
    return source, None


def _need_tfmot() -> None:
    try:
        from . import tfmot  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"this needs TensorFlow Model Optimization ({error.name} is missing): pip install 'keras-inception[qat]'"
        ) from error


def _as_given(data: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(data[0]), np.asarray(data[1])


def _zipped_weights(model: keras.Model) -> int:
    return zipped(b"".join(np.asarray(weight).tobytes() for weight in model.get_weights()))


def zipped(content: bytes) -> int:
    """How large it is in a zip archive, in bytes."""
    return len(zlib.compress(content, 6))


# ------------------------------------------------------------------------------------------------------------ the file


def to_int8(model: Any, *, input_name: str = "input", output_name: str = "output") -> bytes:
    """A fake-quantised Keras 2 model as a .tflite file of batch 1 that computes in int8, float32 at its edges.

    Raises:
        InputError: it cannot be converted, or an operator inside it is left in float.
    """
    with quiet(), tempfile.TemporaryDirectory() as folder:
        _save_constants(model, folder, input_name, output_name)
        gc.collect()  # the graphs that it made have cycles, and hold the weights several times
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        try:
            content = converter.convert()
        except Exception as error:  # the converter raises many kinds, with pages of text
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise InputError(f"{model.name} cannot be converted to int8: {first[:200]}") from error
    if left := float_operators(content):
        raise InputError(
            f"{model.name} keeps {', '.join(sorted(set(left)))} in float: TFLite has no int8 kernel for it"
        )
    return content


def _save_constants(model: Any, folder: str, input_name: str, output_name: str) -> None:
    """As a SavedModel of one image; one of variables takes three times as long to write and to read."""
    spec = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name=input_name)
    traced = tf.function(lambda x: model(x, training=False), [spec], autograph=False).get_concrete_function()
    constant = convert_variables_to_constants_v2(traced)

    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output_name: constant(x)[0]}

    tf.saved_model.save(tf.Module(), folder, tf.function(serve, [spec], autograph=False))
