"""The search for an int8 file that keeps a target, on networks that lose much in int8 by construction, or little."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from keras_inception import InputError, Preprocessing, export
from keras_inception.data import from_arrays
from keras_inception.export.quantization import search
from keras_inception.export.tflite.flatbuffer import float_operators, precision
from keras_inception.export.tflite.metadata import read_record

SIZE, CLASSES = 12, 4
RNG = np.random.default_rng(0)
CALIBRATION = RNG.uniform(0, 1, (60, SIZE, SIZE, 3)).astype("float32")


def network(outlier):
    """One channel of `wide` has `outlier` times the range of the others, and nothing reads it."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, activation="relu", name="first")(image)
    x = layers.Conv2D(8, 3, activation="relu", name="wide")(x)
    x = layers.Conv2D(8, 3, activation="relu", name="narrow")(x)
    x = layers.Conv2D(32, 3, activation="relu", name="last")(x)
    x = layers.Dense(CLASSES, activation="softmax", name="predictions")(layers.Flatten()(x))
    model = keras.Model(image, x, name="small")
    wide, narrow = model.get_layer("wide"), model.get_layer("narrow")
    kernel, bias = wide.get_weights()
    kernel[..., 0] = np.abs(kernel[..., 0]) * outlier
    wide.set_weights([kernel, bias])
    kernel, bias = narrow.get_weights()
    kernel[:, :, 0] = 0
    narrow.set_weights([kernel, bias])
    dense = model.get_layer("predictions")
    kernel, bias = dense.get_weights()
    logits = keras.Model(image, dense.input)(CALIBRATION).numpy() @ kernel
    dense.set_weights([kernel * 8 / logits.std(), -8 * logits.mean(0) / logits.std()])  # all classes occur
    return model


@pytest.fixture(scope="module")
def sensitive():
    return network(1000)


@pytest.fixture(scope="module")
def held_out(sensitive):
    """Images with the labels that the network gives them: it is right for all of them."""
    inputs = np.random.default_rng(1).uniform(0, 1, (100, SIZE, SIZE, 3)).astype("float32")
    return inputs, np.argmax(sensitive(inputs), axis=-1)


@pytest.fixture(scope="module")
def found(sensitive, held_out, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    return export.quantize_to_target(
        sensitive,
        folder / "small.tflite",
        max_drop=5,
        calibration=CALIBRATION,
        held_out=held_out,
        frontier=folder / "frontier",
    )


@pytest.fixture
def untimed(monkeypatch):
    """Starting the processes of a benchmark takes most of a search's time here."""
    monkeypatch.setattr(
        search,
        "benchmark",
        lambda files, seconds: SimpleNamespace(timings=[SimpleNamespace(milliseconds=1.0)] * len(files)),
    )


def test_the_layers_that_lose_most_stay_in_float(found, sensitive, held_out):
    float32, int8, one, *others = found.trials
    assert (float32.file, float32.loss, int8.file) == ("float32.tflite", 0, "int8.tflite")
    assert int8.loss > 20
    assert not int8.holds
    assert (one.float_layers, one.holds) == (("narrow",), False)
    assert found.chosen in others
    assert found.chosen.loss <= 5
    assert set(found.chosen.float_layers) == {"wide", "narrow"}  # what is between them is in float too
    content = found.path.read_bytes()
    assert precision(content) == "int8"
    assert 0 < len(float_operators(content)) < 5
    again = export.agreement(found.path, sensitive, held_out)
    assert (again.top1, again.bytes, again.n) == (found.chosen.top1, found.chosen.bytes, found.n)
    assert (found.keras_top1, found.n, found.measure, found.target) == (1, 100, "top-1", 5)
    assert all(trial.milliseconds > 0 for trial in found.trials)


def test_the_frontier_is_kept(found):
    folder = found.path.with_name("frontier")
    files = {trial.file for trial in found.frontier}
    assert {path.name for path in folder.iterdir()} == {*files, "search.json", "frontier.svg"}
    record = json.loads((folder / "search.json").read_text())
    assert record["chosen"]["file"] == found.chosen.file
    assert {trial["file"] for trial in record["trials"]} == {trial.file for trial in found.trials}
    assert {path.name for path in folder.parent.iterdir()} == {"frontier", "small.tflite"}


def test_int8_that_holds_is_taken_at_once(tmp_path, untimed):
    model = network(1)
    found = export.quantize_to_target(
        model, tmp_path / "small.tflite", min_agreement=90, calibration=CALIBRATION, held_out=CALIBRATION[:20] / 2
    )
    assert [trial.file for trial in found.trials] == ["float32.tflite", "int8.tflite"]
    assert (found.measure, found.target, found.keras_top1) == ("agreement", 10, None)
    assert found.chosen.loss == pytest.approx(100 - 100 * found.chosen.agreement)
    plain = export.to_tflite(model, tmp_path / "plain.tflite", quantization="int8", calibration=CALIBRATION)
    assert found.path.read_bytes() == plain.read_bytes()
    with pytest.raises(InputError, match=r"small\.tflite exists"):
        export.quantize_to_target(model, found.path, max_drop=1, calibration=CALIBRATION, held_out=CALIBRATION)


def test_a_target_that_is_missed_writes_no_file_but_the_frontier(sensitive, held_out, tmp_path, untimed):
    path, options = tmp_path / "small.tflite", {"calibration": CALIBRATION, "held_out": held_out, "trials": 2}
    export.to_tflite(sensitive, path)
    before = path.read_bytes()
    with pytest.raises(
        export.TargetMissed, match=r"at most 5 points of top-1 on 100 held-out .* int8\.tflite"
    ) as caught:
        export.quantize_to_target(
            sensitive, path, max_drop=5, overwrite=True, frontier=tmp_path / "frontier", **options
        )
    assert "\n" not in str(caught.value)
    found = caught.value.search
    assert found.chosen is None
    assert f"loses {found.best.loss:.3g}, {found.best.loss - 5:.2g} too many" in str(caught.value)
    assert path.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"small.tflite", "frontier"}


@pytest.mark.slow
def test_layers_in_float_of_a_network_with_early_exits(tmp_path):
    """The first exit does not have the layers after it."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3))
    first = layers.Conv2D(8, 3, activation="relu", name="first")(image)
    second = layers.Conv2D(8, 3, activation="relu", name="second")(first)
    outputs = {
        name: layers.Dense(CLASSES, activation="softmax")(layers.GlobalAveragePooling2D()(x))
        for name, x in (("exit_1", first), ("predictions", second))
    }
    model = keras.Model(image, outputs, name="two")
    options = {"quantization": "int8", "calibration": CALIBRATION, "float_layers": ["first", "second"]}
    path = export.to_tflite(model, tmp_path / "two.tflite", **options)
    assert float_operators(path.read_bytes()) == ["CONV_2D"] * 3
    assert [found.exit for found in export.agreements(path, model, CALIBRATION[:8])] == ["exit_1", "exit_2"]


@pytest.mark.slow
def test_training_comes_last(sensitive, held_out, tmp_path, untimed):
    inputs = np.random.default_rng(2).uniform(0, 1, (64, SIZE, SIZE, 3)).astype("float32")
    labelled = inputs, np.argmax(sensitive(inputs), axis=-1)
    settings = export.FineTuning(epochs=1, batch_size=16)
    try:
        found = export.quantize_to_target(
            sensitive,
            tmp_path / "small.tflite",
            max_drop=5,
            calibration=CALIBRATION,
            held_out=held_out,
            trials=2,
            qat=labelled,
            training=settings,
        )
    except export.TargetMissed as missed:
        found = missed.search
    assert [trial.file for trial in found.trials] == ["float32.tflite", "int8.tflite", "int8_trained.tflite"]
    assert {path.name for path in tmp_path.iterdir()} <= {"small.tflite"}


# ---------------------------------------------------------------------------------------------------------- its images


def images(seed, count=40):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)
    return from_arrays(pixels, np.arange(count) % CLASSES, [f"class {i}" for i in range(CLASSES)])


def test_calibration_images_that_are_held_out_are_left_out(tmp_path, untimed):
    model, known = network(1), {"preprocessing": Preprocessing(size=(SIZE, SIZE), mean=(0, 0, 0), std=(255, 255, 255))}
    data, path = images(0), tmp_path / "small.tflite"
    both = export.CalibrationSet.of(np.concatenate([data.train.sources, data.val.sources]) / np.float32(255), **known)
    export.quantize_to_target(model, path, min_agreement=0, calibration=both, held_out=data.val, **known)
    assert read_record(path.read_bytes()).calibration["images"] == len(data.train)
    with pytest.raises(InputError, match=r"all calibration images are among the held-out ones.*--calibration DIR"):
        export.quantize_to_target(
            model, tmp_path / "none", max_drop=1, calibration=data.val, held_out=data.val, **known
        )
    assert [p.name for p in tmp_path.iterdir()] == ["small.tflite"]


def test_images_to_train_on_are_not_held_out(tmp_path):
    known = {"preprocessing": Preprocessing(size=(SIZE, SIZE)), "calibration": images(1).train}
    data = images(0)
    with pytest.raises(InputError, match=f"{len(data.train)} of the images to train on are among the held-out ones"):
        export.quantize_to_target(network(1), tmp_path / "none", max_drop=1, qat=data, held_out=data.train, **known)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give one target: max_drop"),
        ({"max_drop": 1, "min_agreement": 99}, "give one target: max_drop"),
        ({"max_drop": -1}, "0 to 100, such as 0.5; got -1"),
        ({"max_drop": float("nan")}, "got nan"),
        ({"min_agreement": 101}, "0 to 100, such as 99; got 101"),
        ({"max_drop": 1, "trials": 1}, "2 or more: float32 and int8 are two; got 1"),
        ({"max_drop": 1, "teacher": "runs/other"}, "a teacher is for quantisation-aware training"),
        ({"max_drop": 1}, "give held_out=: labelled images"),
        ({"max_drop": 1, "held_out": CALIBRATION}, "max_drop needs labels"),
        ({"max_drop": 1, "held_out": images(0).val}, "to measure on images give preprocessing="),
    ],
)
def test_what_cannot_be_asked_for(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        export.quantize_to_target(network(1), tmp_path / "a.tflite", calibration=CALIBRATION, **options)
    assert not list(tmp_path.iterdir())


def trial(file, loss, size, milliseconds):
    return export.Trial(
        file=file, loss=loss, holds=loss < 1, top1=None, agreement=1 - loss / 100, bytes=size, milliseconds=milliseconds
    )


def test_the_frontier_is_what_no_other_beats(tmp_path):
    trials = (
        trial("float32", 0, 400, 2),
        trial("int8", 9, 100, 1),
        trial("worse than int8", 9, 110, 1),
        trial("slow but small", 0.5, 101, 8),
        trial("equal", 0.5, 101, 8),
    )
    found = export.QuantizationSearch(
        path=tmp_path, measure="top-1", target=1, n=10, keras_top1=0.9, trials=trials, chosen=None
    )
    assert [t.file for t in found.frontier] == ["int8", "slow but small", "equal", "float32"]
    assert found.best.file == "slow but small"
    found.plot(tmp_path / "tried.png")
    assert (tmp_path / "tried.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"a plot is written as .* got 'tried\.abc'"):
        found.plot("tried.abc")
