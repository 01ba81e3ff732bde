"""A TensorFlow SavedModel: the format for servers, with preprocessing, labels and weights inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

import keras
import tensorflow as tf

from keras_inception.arguments import checked
from keras_inception.errors import InputError
from keras_inception.files import new_output
from keras_inception.preprocessing import Preprocessing
from keras_inception.run import label_lines
from keras_inception.terminal import quiet

from .image_decoder import decode_graph
from .inputs import Exportable, ModelOrRun
from .optimize import Graph, Rule, optimize, rewrite
from .quantization.calibration import Calibration, CalibrationSet, calibration_set
from .quantization.for_servers import check_quantization
from .quantization.in_tensorflow import int8_network
from .tflite.metadata import NAME, Input, Record

RECORD_FILE = f"assets.extra/{NAME}.json"  # assets.extra is the place for files of other programs
LABELS_FILE = "assets.extra/labels.txt"
# Weights of more bytes never become constants of the graph. TensorFlow copies a graph some 25 times when it saves it: a
# network of 550 MB took 15 GB.
FREEZE_BELOW = 2**28

Precision = Literal["float32", "float16", "bfloat16", "int8"]
Storage = Literal["constants", "variables"]

Signature = Literal["image", "encoded", "preprocessed"]
DEFAULT = "serving_default"  # the signature of a request that names none

Function: TypeAlias = Callable[[tf.Tensor], Any]  # a tf.function of one tensor


@checked
def to_saved_model(
    model_or_run: ModelOrRun,
    path: str | Path,
    *,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    serving_default: Signature = "image",
    precision: Precision = "float32",
    calibration: Calibration | None = None,
    weights: Storage = "constants",
    jit_compile: bool = False,
    overwrite: bool = False,
) -> Path:
    """Export a SavedModel for TensorFlow Serving or `tf.saved_model.load`; it needs neither Keras nor this package.

    The signatures, each with a free batch size:

    - `image`: `image`, uint8 (n, H, W, 3) RGB of any size, the same for all n.
    - `encoded`: `image_bytes`, strings (n,): the bytes of JPEG, PNG, BMP, GIF or WebP files, each of any size, decoded
      to what `data.decode` returns, within one grey level. Refused is what `decode` refuses, files of more than 67
      million pixels among them, and BMP files that are compressed or have 16 bits a pixel.
    - `preprocessed`: `input`, the network's own input, float32 (n, *input_shape).
    - `serving_default`: one of these again.

    Each returns `probabilities` (n, classes) float32, and with known labels `label` (n,), the most probable one. A
    network that does not end in a softmax or sigmoid returns `output` instead of `probabilities`. All labels, in the
    order of the outputs, are in `assets.extra/labels.txt`, one a line. Without preprocessing `serving_default` takes
    `input` and there are no others.

    The network goes through `optimize` first. Its weights are stored once.

    Args:
        model_or_run: a functional model, a run or a run directory.
        path: the folder to write.
        labels: class names in the order of the outputs; a run knows them.
        preprocessing: what the network was trained with; a run knows it.
        serving_default: the signature of a request that names none. Services that send files as base64 and name none,
            such as Vertex AI, need "encoded".
        precision: of the weights and of the computation except for the last layer; inputs and outputs stay float32.
            "float16" is for GPUs that compute faster in it: half the memory, but slower on a CPU. It ends at 65,504,
            which networks without batch norm may exceed. "bfloat16" is for these GPUs too, and for CPUs with
            AVX512-BF16 or AMX; on others it is slower. "int8" is for x86 CPUs with VNNI or AMX: convolutions and
            dense layers multiply in int8, by kernels that TensorFlow has where oneDNN is on, as it is on these; on
            others it starts with TF_ENABLE_ONEDNN_OPTS=1 in the environment, and sums may overflow. What has no such
            kernel stays in float32: depthwise and grouped convolutions.
        calibration: typical images for "int8", as in `to_tflite`. The default for a run is its training images.
        weights: "constants" are fast everywhere, but TensorFlow copies a graph that has them: ResNet-50 takes 1.8 GB
            for 102 MB. "variables" take about three times the weights. Where oneDNN is on, as it is on x86 with VNNI
            or AMX, they need TF_ONEDNN_ASSUME_FROZEN_WEIGHTS=1 in the environment: without it each call packs them
            anew. Above 256 MB they are variables in any case.
        jit_compile: let XLA compile the network, once per batch size. For GPUs; on a CPU it is slower. Not for int8.
        overwrite: replace a SavedModel at `path`, after the new one is complete.

    Raises:
        InputError: the model or an argument cannot be used, or `path` exists or cannot be written; nothing is left.
    """
    path = Path(path)
    int8 = precision == "int8"
    check_quantization("int8" if int8 else "none", calibration)
    if int8 and jit_compile:
        raise InputError("XLA does not compile TensorFlow's int8 kernels: leave jit_compile out, or precision='int8'")
    with new_output(path, overwrite=overwrite, kind="SavedModel", is_kind=is_saved_model) as part:
        source = Exportable.of(model_or_run, labels=labels, preprocessing=preprocessing)
        if source.preprocessing is None and serving_default == "encoded":
            raise InputError("the signature 'encoded' preprocesses images: give preprocessing= too")
        images = calibration_set(calibration, source) if int8 else None
        module = tf.Module()
        with quiet():
            if images:
                network = _int8_network(source, images, module, weights)
            else:
                model = optimize(source.model)
                model = model if precision == "float32" else Graph(model).model(precision)
                network = _network(model, source.input_dtype, module, weights, jit_compile)
            signatures = _signatures(source, network)
            default = signatures.get(serving_default, signatures["preprocessed"])
            named = signatures if source.preprocessing else {}
            tf.saved_model.save(module, str(part), named | {DEFAULT: default})
        (part / RECORD_FILE).parent.mkdir()
        (part / RECORD_FILE).write_text(record_of(source, "image", images).to_json() + "\n", encoding="utf-8")
        if source.labels:
            (part / LABELS_FILE).write_text(label_lines(source.labels), encoding="utf-8")
    return path


def signature_of(name: str) -> Signature:
    """The signature of this name.

    Raises:
        InputError: there is none.
    """
    if name not in get_args(Signature):
        raise InputError(f"unknown signature {name!r}; give one of {', '.join(get_args(Signature))}")
    return cast(Signature, name)


def record_of(source: Exportable, takes: Input, images: CalibrationSet | None = None) -> Record:
    """The record of a file that takes this input if the preprocessing is known, else the network's own."""
    return Record(
        input=takes if source.preprocessing else "input",
        preprocessing=source.preprocessing,
        labels=source.labels,
        calibration=images.summary() if images else None,
    )


def is_saved_model(path: Path) -> bool:
    """Whether the folder holds a SavedModel."""
    return (path / "saved_model.pb").is_file()


def versions(path: Path) -> list[Path]:
    """The SavedModels in a folder as TensorFlow Serving expects one, `NAME/1`, `NAME/2`, ..., the newest last."""
    if not path.is_dir():
        return []
    numbered = [folder for folder in path.iterdir() if folder.name.isdecimal() and is_saved_model(folder)]
    return sorted(numbered, key=lambda folder: int(folder.name))


def check_one_version(path: Path) -> None:
    """Check that a path is not a folder of versions.

    Raises:
        InputError: it is one.
    """
    if numbered := versions(path):
        raise InputError(f"{path} holds versions of a SavedModel: give one of them, such as the newest, {numbered[-1]}")


def _network(
    model: keras.Model, given: str, module: tf.Module, storage: Storage = "constants", jit_compile: bool = False
) -> Function:
    """One graph function for all signatures, with an input of the dtype `given`; `module` holds its variables."""
    variables = model.trainable_variables, model.non_trainable_variables
    if _are_kept([v for group in variables for v in group], module, storage):

        def call(inputs: tf.Tensor) -> tf.Tensor:
            return model(inputs, training=False)

    else:
        weights = [[v.numpy() for v in group] for group in variables]

        def call(inputs: tf.Tensor) -> tf.Tensor:
            constants = [[tf.constant(values) for values in group] for group in weights]
            return model.stateless_call(*constants, inputs, training=False)[0]

    return _graph_function(call, model.inputs[0], given, jit_compile)


def _int8_network(source: Exportable, images: CalibrationSet, module: tf.Module, storage: Storage) -> Function:
    """As `_network`, in int8; `storage` is of the weights that are not rounded."""
    network = int8_network(source, images)
    variables = network.float_variables
    frozen = [] if _are_kept(variables, module, storage) else [(v, v.numpy()) for v in variables]

    def call(inputs: tf.Tensor) -> tf.Tensor:
        with keras.StatelessScope([(v, tf.constant(values)) for v, values in frozen]):
            return network(inputs)

    return _graph_function(call, network.input, source.input_dtype)


def _are_kept(variables: Sequence[Any], module: tf.Module, storage: Storage) -> bool:
    """Whether weights stay variables, which `module` then holds."""
    size = sum(v.value.dtype.size * v.shape.num_elements() for v in variables)
    if storage == "constants" and size <= FREEZE_BELOW:
        return False
    module.weights = [v.value for v in variables]
    return True


def _graph_function(call: Function, own: Any, given: str, jit_compile: bool = False) -> Function:
    """A function of a network whose own input has the dtype and the shape of `own`, of inputs of the dtype `given`."""
    spec = tf.TensorSpec(own.shape, given, name="input")

    def network(inputs: tf.Tensor) -> tf.Tensor:
        outputs = call(tf.cast(inputs, own.dtype))
        return tf.cast(outputs, tf.float32) if outputs.dtype.size == 2 else outputs

    return tf.function(network, [spec], autograph=False, jit_compile=jit_compile or None).get_concrete_function()


def pixels_to_outputs(
    source: Exportable, optimized: keras.Model, module: tf.Module, rules: Mapping[str, Rule]
) -> tuple[Function, tf.TensorSpec]:
    """The function that other formats are converted from: RGB pixels (n, H, W, 3), 0..255 -> {name: outputs}.

    Without preprocessing it takes the network's own input. The weights are as in `_network`; `rules` are of the format.
    """
    network = _network(rewrite(optimized, rules)[0], source.input_dtype, module)
    normalize = source.preprocessing.normalize if source.preprocessing else None
    shape = (*source.preprocessing.size, 3) if source.preprocessing else source.input_shape
    spec = tf.TensorSpec((None, *shape), source.input_dtype, name="pixels" if normalize else "input")

    def outputs_of(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {source.output_name: network(normalize(x) if normalize else x)}

    return tf.function(outputs_of, [spec], autograph=False), spec


def _signatures(source: Exportable, network: Function) -> dict[Signature, Function]:
    """Functions of one tensor whose every output has a row per image: servers split a response by it."""

    def outputs_of(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = network(inputs)
        if source.labels is None:
            return {source.output_name: outputs}
        label = tf.gather(tf.constant(source.labels), tf.argmax(outputs, axis=-1))
        return {source.output_name: outputs, "label": label}

    own = tf.TensorSpec((None, *source.input_shape), source.input_dtype, name="input")
    preprocessed: dict[Signature, Function] = {"preprocessed": tf.function(outputs_of, [own], autograph=False)}
    if source.preprocessing is None:
        return preprocessed
    prepare, shape = source.preprocessing, source.preprocessing.input_shape

    def from_image(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return outputs_of(prepare(tf.ensure_shape(image, pixels.shape)))  # servers do not check it

    def from_encoded(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return outputs_of(tf.map_fn(from_file, image_bytes, fn_output_signature=tf.TensorSpec(shape, tf.float32)))

    def from_file(content: tf.Tensor) -> tf.Tensor:
        return prepare(decode_graph(content))

    pixels = tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")
    encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")  # Vertex AI: names of binary inputs end in _bytes
    return {
        "image": tf.function(from_image, [pixels], autograph=False),
        "encoded": tf.function(from_encoded, [encoded], autograph=False),
        **preprocessed,
    }
