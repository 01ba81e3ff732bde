"""Quantisation-aware training, pruning and clustering: on real digits, and on blocks of the networks."""

import errno
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from keras_inception import InputError, Preprocessing, Run, export
from keras_inception.cli.app import app
from keras_inception.data import Augmentation, from_arrays
from keras_inception.export.tflite.flatbuffer import float_operators, operators
from keras_inception.export.tflite.metadata import read_record
from keras_inception.registry import get

from ..conformance import qat
from ..conformance.table import every_network

PREPROCESSING = Preprocessing(size=(16, 16), channels="BGR", mean=(50.0, 60.0, 80.0), std=(57.0, 71.0, 89.0))

ONE, TWO = export.FineTuning(epochs=1), export.FineTuning(epochs=2)


def network():
    """A lone batch norm, a gate, a residual with a scale, an average pool in branches, dropout."""
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    y = layers.Conv2D(16, 3, padding="same")(layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x)))
    gate = layers.Conv2D(16, 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(y))
    x = layers.ReLU()(layers.Add()([x, layers.Rescaling(0.5)(layers.Multiply()([y, gate]))]))
    pool = layers.AveragePooling2D(3, 1, "same")(x)
    x = layers.Concatenate()([layers.Conv2D(16, 3, 2, "same", activation="relu")(b) for b in (x, pool)])
    x = layers.Dropout(0.1)(layers.Flatten()(layers.MaxPooling2D(2)(x)))
    return keras.Model(image, layers.Dense(10, activation="softmax")(x), name="small")


@pytest.fixture(scope="module")
def digits():
    sample = load_digits()
    images = np.round(sample.images[..., np.newaxis] * (255 / 16) * [1.0, 0.7, 0.4]).astype(np.uint8)
    return from_arrays(images, sample.target, [f"digit {name}" for name in sample.target_names])


@pytest.fixture(scope="module")
def model(digits):
    keras.utils.set_random_seed(0)
    model = network()
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(PREPROCESSING(digits.train.sources), digits.train.labels, epochs=6, verbose=0)
    return model


@pytest.fixture(scope="module")
def known(digits):
    return {"preprocessing": PREPROCESSING, "labels": digits.classes}


@pytest.fixture(scope="module")
def quantized(model, digits, known, tmp_path_factory):
    path = tmp_path_factory.mktemp("qat") / "digits.tflite"
    before = model.get_weights()
    result = export.quantize_aware(model, digits, path, training=TWO, **known)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    return result


def test_the_file_is_int8_and_as_good_as_the_network(quantized, model, digits):
    content = quantized.path.read_bytes()
    assert float_operators(content) == []
    assert quantized.bytes == len(content) > quantized.zipped > 1000
    assert set(operators(content)) & {"MUL", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "CONCATENATION", "ADD", "SOFTMAX"}
    agreement = quantized.agreement
    assert agreement.format == "tflite int8"
    assert agreement.keras_top1 >= 0.9  # without a trained network agreement means nothing
    assert agreement.top1 >= agreement.keras_top1 - 0.01
    assert agreement.agreement >= 0.97
    assert [row["epoch"] for row in quantized.history] == [0, 1, 2]
    best = max(row["val_accuracy"] for row in quantized.history)
    assert agreement.top1 == pytest.approx(best, abs=0.01)  # the file does what the best fake-quantised network did


@pytest.mark.parametrize(("between", "options"), [
    (layers.MaxPooling2D(), {}), (layers.ZeroPadding2D(), {"edge": "uint8", "batch": 3}),
])  # fmt: skip
def test_maps_that_are_concatenated_and_read_by_others_leave_no_float(between, options, tmp_path):
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = between(layers.Conv2D(8, 3, activation="relu")(image))
    small = layers.Conv2D(8, 1, activation="relu", kernel_initializer=keras.initializers.RandomNormal(stddev=0.01))(x)
    maps = [layers.Concatenate()([x, small]), layers.Conv2D(8, 1, activation="relu")(x)]
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(m) for m in maps])
    model = keras.Model(image, layers.Dense(3, activation="softmax")(x))
    inputs = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype(np.float32)
    path = tmp_path / "small.tflite"
    result = export.quantize_aware(model, (inputs, np.arange(8) % 3), path, training=ONE, **options)
    assert float_operators(path.read_bytes()) == []
    [given] = export.doctor(path).signatures.values()
    assert given.startswith("input UINT8 3x16x16x3" if options else "input FLOAT32 1x16x16x3")
    assert result.agreement.max_difference < 0.02


def test_the_file_carries_its_record(quantized, digits):
    record = read_record(quantized.path.read_bytes())
    assert (record.input, record.preprocessing, record.labels) == ("pixels", PREPROCESSING, digits.classes)


def test_nothing_else_is_left_beside_the_file(quantized):
    assert [path.name for path in quantized.path.parent.iterdir()] == ["digits.tflite"]


def test_an_interrupted_training_resumes(model, digits, known, quantized, tmp_path, monkeypatch):
    from keras_inception.training.state import TrainingState

    path, saved = tmp_path / "cut.tflite", TrainingState.save

    def save_and_stop(self, *args, **kwargs):
        saved(self, *args, **kwargs)
        if len(self.history) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            export.quantize_aware(model, digits, path, training=TWO, **known)
    assert [p.name for p in tmp_path.iterdir()] == ["cut.tflite.training"]
    with pytest.raises(InputError, match="holds an unfinished training with other settings"):
        export.quantize_aware(model, digits, path, training=export.FineTuning(epochs=3), **known)
    again = export.quantize_aware(model, digits, path, training=TWO, **known)
    for row, whole in zip(again.history, quantized.history, strict=True):
        assert row | {"seconds": 0} == pytest.approx(whole | {"seconds": 0}, rel=1e-3)
    assert [p.name for p in tmp_path.iterdir()] == ["cut.tflite"]


@pytest.mark.parametrize("room", [0, 2, 4])  # files; an epoch is there after four
def test_a_full_disk_is_one_line_and_keeps_the_epoch_before(room, model, digits, known, tmp_path, monkeypatch):
    from keras_inception.training import state

    written, write_file = [], state.write_file

    def full(path, write):
        if len(written) >= room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        write_file(path, write)

    monkeypatch.setattr(state, "write_file", full)
    folder = tmp_path / "state"
    with pytest.raises(InputError, match=r"state could not be written: no space left on device; .*repeat the call"):
        export.prune(model, digits, training=ONE, checkpoints=folder, **known)
    assert folder.exists() == (room == 4)  # no folder without an epoch is left


@pytest.fixture(scope="module")
def run(model, digits, tmp_path_factory):
    """A run directory, with its images in folders."""
    path, images = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("images")
    for i in range(200):
        file = images / digits.classes[digits.train.labels[i]] / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(digits.train.sources[i]).save(file)
    model.save(path / "model.keras")
    labels = tuple(sorted(digits.classes))
    data = {"folder": str(images), "validation": 0.2}
    Run(builder="lenet5", kwargs={}, labels=labels, preprocessing=PREPROCESSING, data=data, path=path).save()
    return path


@pytest.mark.slow
def test_command_line(run):
    folder = Run.load(run).data["folder"]
    told = CliRunner().invoke(app, ["export", str(run), "--to", "tflite-int8", "--qat", folder, "--json"])
    assert told.exit_code == 0, told.output
    [figures] = json.loads(told.stdout)
    assert figures["format"] == "tflite int8"
    assert figures["top1"] >= 0.9
    assert float_operators((run / "exports" / "int8.tflite").read_bytes()) == []


@pytest.mark.slow
def test_command_line_prunes_and_clusters_first(run, tmp_path):
    folder = Run.load(run).data["folder"]
    command = ["export", str(run), "--to", "tflite-int8", "--qat", folder, "--prune", "0.6", "--cluster", "16"]
    told = CliRunner().invoke(app, [*command, "--out", str(tmp_path)])
    assert "bytes in a zip archive" in told.stderr  # the accuracy after so few images does not matter here
    assert [path.name for path in tmp_path.iterdir()] == ["int8.tflite"]
    for kernel in int8_kernels(tmp_path / "int8.tflite"):
        assert np.mean(kernel == 0) >= 0.5
        assert all(len(np.unique(filter_)) <= 16 for filter_ in kernel)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "tflite", "--qat", "images"], "makes tflite-int8: ask for that format too"),
        (["--to", "tflite-int8", "--prune", "0.5"], "give qat too"),
        (["--to", "tflite", "--to", "tflite-int8", "--qat", "images", "--prune", "1.5"], "between 0 and 1"),
        (
            ["--to", "tflite", "--to", "tflite-int8", "--qat", "images", "--prune", "half"],
            "a share of zeros such as 0.5, or 2:4; got 'half'",
        ),
    ],
)
def test_command_line_says_what_it_wants(options, message, run, tmp_path):
    command = ["export", str(run), "--out", str(tmp_path / "files"), *options]
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert not (tmp_path / "files").exists()


# --------------------------------------------------------------------------------------------- pruning and clustering


def kernels(model):
    return [layer.get_weights()[0] for layer in model.layers if isinstance(layer, layers.Conv2D | layers.Dense)]


def int8_kernels(path):
    """The larger kernels of a file, filters first."""
    from ai_edge_litert import schema_py_generated as schema

    content = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    [graph] = content.subgraphs
    tensors = [tensor for tensor in graph.tensors if tensor.type == schema.TensorType.INT8]
    data = [(content.buffers[tensor.buffer].data, tensor.shape) for tensor in tensors]
    return [d.astype(np.int8).reshape(shape) for d, shape in data if d is not None and d.size > 300]


@pytest.fixture(scope="module")
def pruned(model, digits, known):
    return export.prune(model, digits, sparsity=0.6, training=TWO, **known)


@pytest.fixture(scope="module")
def clustered(pruned, digits):
    return export.cluster(pruned, digits, clusters=16, training=ONE)


def test_pruned(pruned):
    assert all(np.mean(kernel == 0) == pytest.approx(0.6, abs=0.02) for kernel in kernels(pruned.model))
    assert pruned.sparsity == pytest.approx(0.6, abs=0.02)
    assert pruned.zipped[1] < 0.65 * pruned.zipped[0]
    assert pruned.history[-1]["val_accuracy"] >= 0.9


def test_two_of_four(model, digits, known):
    result = export.prune(model, digits, pattern="2:4", training=ONE, **known)
    for kernel in kernels(result.model):
        if kernel.shape[-2] % 4 == 0:
            groups = np.moveaxis(kernel, -2, -1).reshape(-1, 4)
            assert (np.sum(groups == 0, axis=-1) >= 2).all()
    assert result.sparsity >= 0.49


def test_clustered_keeps_the_zeros(clustered, pruned):
    assert clustered.values <= 16
    assert all(len(np.unique(kernel)) <= 16 for kernel in kernels(clustered.model))
    assert clustered.sparsity >= pruned.sparsity - 0.02
    assert clustered.zipped[1] < pruned.zipped[1]


@pytest.mark.slow
def test_all_three_in_one_file(clustered, digits, quantized, tmp_path):
    result = export.quantize_aware(clustered, digits, tmp_path / "all.tflite", training=ONE)
    assert float_operators(result.path.read_bytes()) == []
    large = int8_kernels(result.path)
    assert large
    assert all(np.mean(kernel == 0) >= 0.5 for kernel in large)
    assert all(len(np.unique(filter_)) <= 16 for kernel in large for filter_ in kernel)
    assert result.zipped < 0.75 * quantized.zipped
    assert result.agreement.top1 >= 0.9


# ------------------------------------------------------------------------------------------------- blocks of networks

BLOCKS = {
    "mobilenet_v1": "conv2d_2_pointwise",
    "mobilenet_v2": "block_2",
    "shufflenet_v1": "stage2_2",
    "shufflenet_v2": "stage2_2",
    "densenet40_12": "denseblock1_layer3",
}


SLOW = {"shufflenet_v1", "densenet40_12"}  # the second shuffle; a concatenation, as Inception's modules have


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in BLOCKS]
)
def test_block(name):
    architecture = get(name)
    row = qat.measure(qat.network(architecture, qat.input_side(architecture), BLOCKS[name]))
    assert row["ok"] == "yes", row


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(every_network()) - {"resnet1202_sd"}))
def test_network(name):
    assert qat.TABLE.run(name)["ok"] == "yes"


# -------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": None}, "give images to train on"),
        ({"data": "nowhere"}, "nowhere does not exist"),
        ({"data": (np.zeros((3, 8, 8, 3)), np.zeros(3))}, r"takes \(n, 16, 16, 3\) .* got \(3, 8, 8, 3\)"),
        ({"labels": ("a",)}, "1 labels for the output"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_bad_arguments_are_named_and_nothing_is_left(arguments, message, model, digits, known, tmp_path):
    arguments = {"data": digits, "path": tmp_path / "sub" / "x.tflite", **known} | arguments
    with pytest.raises(InputError, match=message):
        export.quantize_aware(model, **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("setting", ["epochs", "batch_size", "learning_rate"])
def test_settings_are_positive(setting):
    with pytest.raises(InputError, match=f"{setting} must be positive; got 0"):
        export.FineTuning(**{setting: 0})


def test_training_for_a_phone_mixes_no_images():
    assert export.FineTuning(augmentation=Augmentation(randaugment=0.3))
    with pytest.raises(InputError, match="mixes no images: give an augmentation with mixup=0 and cutmix=0"):
        export.FineTuning(augmentation=Augmentation(cutmix=1.0))


def test_bad_compressions_are_named(model, digits, known):
    with pytest.raises(InputError, match="sparsity is the share of zeros"):
        export.prune(model, digits, sparsity=1.5, **known)
    with pytest.raises(InputError, match="pattern must be 'magnitude' or '2:4'; got '1:3'"):
        export.prune(model, digits, pattern="1:3", **known)
    with pytest.raises(InputError, match="3 to 1024; got 2"):
        export.cluster(model, digits, clusters=2, **known)


WITHOUT = """
import sys
sys.modules["tensorflow_model_optimization"] = None
from keras_inception import InputError, export
try:
    export.prune("nowhere", None)
except InputError as error:
    print(error)
"""


def test_without_tfmot_the_extra_is_named():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert "pip install 'keras-inception[qat]'" in done.stdout


def test_figures_are_json(quantized):
    assert json.loads(json.dumps(quantized.to_dict()))["agreement"]["format"] == "tflite int8"
