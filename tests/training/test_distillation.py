"""A teacher: the loss by hand, what a network learns of it, and that a training with one resumes to the bit."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_inception import cli, export
from keras_inception.callbacks import AuxiliaryHeads, Distillation, LabelSmoothing
from keras_inception.data import Augmentation, Split, from_arrays
from keras_inception.data.split import OneHot
from keras_inception.errors import InputError
from keras_inception.preprocessing import scaled
from keras_inception.report import read_history
from keras_inception.run import Run
from keras_inception.training import feature_cache, train
from keras_inception.training.loop import balanced
from keras_inception.training.state import TrainingState
from keras_inception.training.teacher import Targets, Teacher, teacher_of
from keras_inception.weights import imagenet_labels

from ..crossings.networks import registered

CLASSES = ("across", "down", "noise")
rng = np.random.default_rng(0)


def softmax(logits: np.ndarray, temperature: float = 1) -> np.ndarray:
    e = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    return e / e.sum(axis=1, keepdims=True)


# ------------------------------------------------------------------------------------------------------------- the loss

X, Y = rng.normal(size=(12, 5)).astype("float32"), rng.integers(0, 3, 12)
TEACHER = rng.normal(size=(12, 3)) * 3  # logits
BESIDE = np.hstack([np.eye(3)[Y], softmax(TEACHER)]).astype("float32")


def loss_by_hand(logits: np.ndarray, weight: float, temperature: float, smoothing: float = 0.0) -> np.ndarray:
    """Of logits and the teacher's logits, of each image."""
    labels = (1 - smoothing) * np.eye(3)[Y] + smoothing / 3
    hard = -(labels * np.log(softmax(logits))).sum(axis=1)
    p, q = softmax(logits, temperature), softmax(TEACHER, temperature)
    return (1 - weight) * hard + weight * temperature**2 * (q * np.log(q / p)).sum(axis=1)


def network(heads: bool = False, activation: str = "softmax") -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    outputs = {name: keras.layers.Dense(3, name=f"{name}_logits")(inputs) for name in ("predictions", "aux_1")}
    outputs = {name: keras.layers.Activation(activation, name=name)(x) for name, x in outputs.items()}
    return keras.Model(inputs, outputs if heads else outputs["predictions"])


def logits_of(model: keras.Model, name: str = "predictions") -> np.ndarray:
    kernel, bias = model.get_layer(f"{name}_logits").get_weights()
    return X.astype(float) @ kernel + bias


@pytest.mark.parametrize("activation", ["softmax", "linear"])
def test_the_loss_and_its_gradient_by_hand(activation: str) -> None:
    """Logarithms of probabilities do what logits do; logits are taken as they are."""
    model, sample_weight = network(activation=activation), np.linspace(0.5, 2, 12)
    loss = keras.losses.CategoricalCrossentropy(from_logits=activation == "linear")
    model.compile(keras.optimizers.SGD(1.0), loss, metrics=["accuracy"])
    z, before = logits_of(model), model.get_weights()
    teach = [Distillation(0.3, 4.0), LabelSmoothing(0.1)]
    fitted = model.fit(X, BESIDE, sample_weight=sample_weight, batch_size=12, callbacks=teach, verbose=0).history
    expected = (sample_weight * loss_by_hand(z, 0.3, 4.0, 0.1)).mean()
    assert fitted["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert fitted["accuracy"][0] == pytest.approx((z.argmax(axis=1) == Y).mean())
    labels = 0.9 * np.eye(3)[Y] + 0.1 / 3
    slope = 0.7 * (softmax(z) - labels) + 0.3 * 4.0 * (softmax(z, 4.0) - softmax(TEACHER, 4.0))
    slope *= sample_weight[:, None] / 12
    np.testing.assert_allclose(before[0] - model.get_weights()[0], X.T @ slope, atol=1e-5)


def test_a_teacher_teaches_every_head() -> None:
    model = network(heads=True)
    model.compile(keras.optimizers.SGD(0.0), "categorical_crossentropy")
    callbacks = [AuxiliaryHeads(0.4), Distillation(0.5, 2.0)]
    fitted = model.fit(X, BESIDE, batch_size=12, callbacks=callbacks, verbose=0).history
    own, aux = (loss_by_hand(logits_of(model, name), 0.5, 2.0).mean() for name in ("predictions", "aux_1"))
    assert fitted["loss"][0] == pytest.approx(own + 0.4 * aux, rel=1e-5)


def test_after_a_fit_with_a_teacher_the_loss_is_the_models_own() -> None:
    model = network()
    model.compile(keras.optimizers.SGD(0.0), "categorical_crossentropy")
    model.fit(X, BESIDE, callbacks=[Distillation(0.5, 2.0)], verbose=0)
    fitted = model.fit(X, np.eye(3)[Y], batch_size=12, callbacks=[LabelSmoothing(0.0)], verbose=0).history
    assert fitted["loss"][0] == pytest.approx(loss_by_hand(logits_of(model), 0, 1).mean(), rel=1e-5)


def test_improbable_classes_cost_no_precision() -> None:
    """A probability of 1e-20 has the logarithm that its logit has, and a gradient."""
    model = network()
    model.get_layer("predictions_logits").set_weights([np.zeros((5, 3)), np.array([46.0, 0, 0])])
    model.compile(keras.optimizers.SGD(1.0), "categorical_crossentropy")
    model.fit(X, BESIDE, batch_size=12, callbacks=[Distillation(1.0, 10.0)], verbose=0)
    z = np.tile([46.0, 0, 0], (12, 1))
    slope = 10.0 * (softmax(z, 10.0) - softmax(TEACHER, 10.0)).mean(axis=0)
    np.testing.assert_allclose(model.get_weights()[1], [46.0, 0, 0] - slope, rtol=1e-4)


@pytest.mark.parametrize(
    ("weight", "temperature", "loss", "labels", "message"),
    [
        (1.5, 2.0, "categorical_crossentropy", BESIDE, "the weight of a teacher must be a number from 0 to 1; got 1.5"),
        (0.5, 0.0, "categorical_crossentropy", BESIDE, "the temperature of a teacher must be a number above 0; got 0"),
        (0.5, 2.0, "sparse_categorical_crossentropy", BESIDE, "beside one-hot labels: compile with"),
        (0.5, 2.0, "categorical_crossentropy", BESIDE[:, :3], r"labels are \(n, 6\): .*; got \(None, 3\)"),
    ],
)
def test_what_a_teacher_needs(weight, temperature, loss, labels, message) -> None:
    model = network()
    model.compile("sgd", loss)
    with pytest.raises(InputError, match=message):
        model.fit(X, labels, callbacks=[Distillation(weight, temperature)], verbose=0)


def test_quantisation_aware_training_has_the_same_loss() -> None:
    from keras_inception.export.quantization.qat.trainer import CopyTrainer

    trainer = SimpleNamespace(
        copy=SimpleNamespace(logits=SimpleNamespace(output_shape=(None, 3))),
        settings=export.FineTuning(temperature=4.0, teacher_weight=0.3),
        images=SimpleNamespace(teacher=True),
    )
    z = rng.normal(size=(12, 3))
    found = CopyTrainer._loss(trainer)(BESIDE, z.astype("float32"))
    np.testing.assert_allclose(found, loss_by_hand(z, 0.3, 4.0), rtol=1e-4)


# ------------------------------------------------------------------------------------------------------ what is learned


def test_mixing_mixes_labels_and_probabilities_alike() -> None:
    """Of a teacher that is sure of the labels both halves of a row are the same, whatever was mixed."""
    split = Split(rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8), Y.astype(np.int32), CLASSES)
    sure = Targets(OneHot(split.labels, 3), np.eye(3, dtype=np.float32)[Y])
    for augmentation, integers in ((Augmentation(mixup=0.5), False), (Augmentation(cutmix=1.0), False), (None, True)):
        rows = [y.numpy() for _, y in split.batches(scaled((8, 8)), 6, augmentation=augmentation, labels=sure)]
        found = np.concatenate(rows)
        np.testing.assert_allclose(found[:, :3], found[:, 3:], atol=1e-6)
        np.testing.assert_allclose(found.sum(axis=1), 2, atol=1e-5)
        assert np.isin(found, (0, 1)).all() == integers


def test_the_teachers_columns_are_those_of_the_classes() -> None:
    probabilities = rng.random((4, 3)).astype("float32")
    rows = Targets(OneHot(np.array([2, 0, 1, 1]), 3), probabilities, (2, 0, 1))
    assert (rows.shape, rows.dtype) == ((4, 6), np.float32)
    np.testing.assert_array_equal(rows[np.array([1, 0])][:, :3], [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(rows[np.array([1, 0])][:, 3:], probabilities[[1, 0]][:, [2, 0, 1]])


def test_rare_classes_weigh_more_whatever_the_teacher_says() -> None:
    weighted = balanced(np.array([0, 0, 0, 2]), 4)  # the others have no image
    x, sure = np.zeros((2, 1), np.float32), np.float32([[0.6, 0, 0.4, 0, 0, 0, 1, 0], [0, 0, 1, 0, 1, 0, 0, 0]])
    for y in (np.int32([0, 2]), sure[:, :4], sure):
        [(_, given, weights)] = tf_batches(x, y).map(weighted)
        np.testing.assert_allclose(weights, [2 / 3, 2])
        np.testing.assert_array_equal(given, y)


def tf_batches(x, y):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((x, y)).batch(2)


# ------------------------------------------------------------------------------------------------------------ trainings


def images(labels: np.ndarray | None = None, classes: tuple[str, ...] = CLASSES):
    """Stripes across, stripes down, noise, in grey."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 80, (48, 24, 24))
    pixels[:16, ::4] += 150
    pixels[16:32, :, ::4] += 150
    return from_arrays(pixels.astype(np.uint8), np.repeat(range(3), 16) if labels is None else labels, classes)


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory):
    with registered(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_INCEPTION_HOME", str(tmp_path_factory.mktemp("home")))
        yield


SETTINGS = {"model": "crossed", "epochs": 3, "batch_size": 16, "learning_rate": 0.02, "augmentation": None}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Run:
    """A run of another network, of another input size, whose classes are in another order."""
    place = tmp_path_factory.mktemp("teacher") / "run"
    data = images(2 - np.repeat(range(3), 16), CLASSES[::-1])
    return train(data, out=place, **SETTINGS | {"model": "crossed_grey", "size": 24, "epochs": 12})


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("pretrained") / "run"
    return train(images(), out=place, **SETTINGS | {"epochs": 1}).path


def test_a_network_learns_what_its_teacher_says(teacher, tmp_path) -> None:
    """Every label is wrong, and has no weight: the teacher's classes come out."""
    truth = images().train
    theirs = teacher.probabilities(truth)["predictions"][:, ::-1].argmax(axis=1)
    assert (theirs == truth.labels).mean() >= 0.9
    wrong = images(np.roll(np.repeat(range(3), 16), 16))
    settings = SETTINGS | {"epochs": 12, "teacher_weight": 1.0, "temperature": 1.0}
    *_, last = read_history(train(wrong, out=tmp_path / "x", teacher=teacher, **settings))
    assert (last["accuracy"], last["val_accuracy"]) == (0, 0)
    assert last["loss"] < 0.05  # the divergence from the teacher


KINDS = {
    "mixed images, balanced": {"augmentation": ["light", "mixup=0.2", "cutmix=1"], "balance": True},
    "auxiliary heads, mixed precision": {
        "model": "crossed_heads", "options": {"aux_heads": True}, "precision": "mixed_bfloat16", "label_smoothing": 0.1,
    },
    "early exits, an average": {"model": "crossed_exits", "ema": 0.9, "augmentation": "light"},
    "both stages, on features": {"model": None, "freeze_epochs": 2, "balance": True, "augmentation": ["mixup=0.2"]},
    "both stages, on images": {
        "model": None, "freeze_epochs": 1, "cache_features": False, "precision": "mixed_float16",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[] if i in (0, 3) else [pytest.mark.slow]) for i, k in enumerate(KINDS)]
)
def test_a_training_with_a_teacher_resumes_to_the_bit(kind, teacher, pretrained, tmp_path, monkeypatch) -> None:
    """The teacher has moved meanwhile, and is not run again."""
    start = {"weights": pretrained} if "stages" in kind else {}
    settings = SETTINGS | KINDS[kind] | start
    run = train(images(), out=tmp_path / "whole", teacher=teacher.path, **settings)
    monkeypatch.setattr(feature_cache, "_compute", None)
    interrupted(monkeypatch, out=tmp_path / "cut", teacher=teacher.path, **settings)
    moved = shutil.copytree(teacher.path, tmp_path / "moved")
    resumed = train(images(), out=tmp_path / "cut", teacher=moved, **settings)
    for ours, theirs in zip(resumed.model().get_weights(), run.model().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert resumed.metrics == run.metrics


def interrupted(monkeypatch, **arguments) -> None:
    """A training that ends after one epoch."""
    save = TrainingState.save

    def cut(self, *args, **kwargs):
        save(self, *args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "save", cut)
        with pytest.raises(KeyboardInterrupt):
            train(images(), **arguments)


def test_another_teacher_or_none_does_not_resume(teacher, pretrained, tmp_path, monkeypatch) -> None:
    interrupted(monkeypatch, out=tmp_path / "taught", teacher=teacher, **SETTINGS)
    interrupted(monkeypatch, out=tmp_path / "alone", **SETTINGS)
    for out, other, words in (
        ("taught", pretrained, "another teacher"), ("taught", None, "a teacher"), ("alone", teacher, "no teacher"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"holds an unfinished training with {words}"):
            train(images(), out=tmp_path / out, teacher=other, **SETTINGS)
    with pytest.raises(InputError, match=r"unfinished training with temperature 4\.0, not 3\.0"):
        train(images(), out=tmp_path / "taught", teacher=teacher, temperature=3.0, **SETTINGS)


def test_a_training_begun_before_there_were_teachers_resumes(tmp_path, monkeypatch) -> None:
    interrupted(monkeypatch, out=tmp_path / "x", **SETTINGS)
    file = tmp_path / "x" / "training_state" / "state.json"
    state = json.loads(file.read_text())
    del state["request"]["teacher"], state["request"]["recipe"]["temperature"]
    del state["request"]["recipe"]["teacher_weight"]
    file.write_text(json.dumps(state))
    assert train(images(), out=tmp_path / "x", **SETTINGS).training["teacher"] is None


def test_the_run_says_who_taught_it(teacher, tmp_path, capsys) -> None:
    pixels = images()
    place = tmp_path / "images"
    for split, side in ((pixels.train, "train"), (pixels.val, "val")):
        for i, label in enumerate(split.labels):
            folder = place / side / CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            keras.utils.save_img(folder / f"{i}.png", split.image(i), scale=False)
    words = ["train", place, "--model", "crossed", "--epochs", 1, "--batch-size", 16, "--out", tmp_path / "run"]
    words += ["--teacher", teacher.path, "--temperature", 3, "--teacher-weight", 0.9]
    cli.app([*map(str, words)], standalone_mode=False)
    assert f"taught by crossed_grey of {teacher.path}" in capsys.readouterr().err.replace("\n", "")
    run = Run.load(tmp_path / "run")
    recorded = run.training["teacher"]
    assert (recorded["weights"], recorded["network"]) == (str(teacher.path), "crossed_grey")
    assert (recorded["preprocessing"]["size"], recorded["columns"]) == ([24, 24], [2, 1, 0])
    assert len(recorded["digest"]) == 64
    page = (run.path / "report.html").read_text()
    assert f"Taught by crossed_grey, 24 x 24 pixels, of {teacher.path}: weight 0.9, temperature 3." in page
    cli.app(["config", str(run.path)], standalone_mode=False)
    printed = capsys.readouterr().out
    assert f'teacher = "{teacher.path}"' in printed
    assert "temperature = 3.0" in printed
    (tmp_path / "again.toml").write_text(printed)
    cli.app(
        ["train", "--config", str(tmp_path / "again.toml"), "--out", str(tmp_path / "again")], standalone_mode=False
    )
    assert Run.load(tmp_path / "again").metrics == run.metrics


# ------------------------------------------------------------------------------------------------------------- teachers


def test_a_file_has_its_networks_preprocessing_and_the_images_classes(pretrained, tmp_path, capsys) -> None:
    file = shutil.copy(pretrained / "model.keras", tmp_path / "x.keras")
    found = teacher_of(file, CLASSES)
    assert (found.weights, found.network, found.columns) == (str(file), "crossed", None)
    assert found.preprocessing == scaled((16, 16))
    assert "names no classes: taken to be in the order of the images'" in capsys.readouterr().err.replace("\n", " ")
    assert teacher_of(pretrained / "model.keras", CLASSES).weights == str(pretrained)
    assert Teacher.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_published_weights_know_the_classes_of_imagenet_in_any_order() -> None:
    synsets, names = (tuple(label[i] for label in imagenet_labels()) for i in (0, 1))
    same, by_name, turned = (teacher_of("mobilenet_v2.imagenet", c) for c in (synsets, names, synsets[::-1]))
    assert same == by_name
    assert (same.columns, turned.columns) == (None, tuple(range(999, -1, -1)))
    assert (same.digest, same.preprocessing.size) == (None, (224, 224))
    assert same.weights.startswith("mobilenet_v2.")
    assert same.weights != "mobilenet_v2.imagenet"  # which may be another tag one day


def test_published_weights_that_cannot_be_downloaded_end_before_any_work(monkeypatch, tmp_path) -> None:
    synsets = [label.synset for label in imagenet_labels()]
    pixels = np.repeat(np.random.default_rng(0).integers(0, 256, (1000, 4, 4)), 2, axis=0).astype(np.uint8)
    pixels[::2] += 1  # two different images of each class
    data = from_arrays(pixels, np.repeat(range(1000), 2), synsets)
    monkeypatch.setenv("KERAS_INCEPTION_OFFLINE", "1")
    with pytest.raises(InputError, match="KERAS_INCEPTION_OFFLINE"):
        train(data, out=tmp_path / "x", teacher="squeezenet1_1.imagenet", **SETTINGS)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere", "a teacher is a finished run, a .keras file or published weights as .*; got 'nowhere'"),
        ("nowhere/run", "a teacher is a finished run or a .keras file; at nowhere/run there is none"),
        (
            "mobilenet_v2.imagenet",
            "has the classes n01440764, .* and 997 others, the images have across, down, noise: a teacher has the",
        ),
        ("mobilenet_v9.imagenet", "mobilenet_v9"),
        ("mobilenet_v2.nothing", "mobilenet_v2 has no weights 'nothing'"),
    ],
)
def test_what_is_no_teacher(given, message, tmp_path) -> None:
    with pytest.raises(InputError, match=message):
        train(images(), out=tmp_path / "x", teacher=given, **SETTINGS)
    assert not (tmp_path / "x").exists()


def test_other_classes_and_damaged_teachers_are_refused_before_any_work(teacher, pretrained, tmp_path) -> None:
    others = images(classes=("across", "down", "third"))
    with pytest.raises(InputError, match="has the classes noise, down, across, the images have across, down, third: "):
        train(others, out=tmp_path / "x", teacher=teacher, **SETTINGS)
    keras.Model.save(network(activation="linear"), tmp_path / "other.keras")
    (tmp_path / "cut.keras").write_bytes((pretrained / "model.keras").read_bytes()[:1000])
    logits = keras.models.clone_model(Run.load(pretrained).model())
    logits.get_layer("predictions").activation = keras.activations.linear
    logits.save(tmp_path / "logits.keras")
    for name, message in (
        ("other.keras", "of which no preprocessing is known: give a run"), ("cut.keras", "cannot be loaded"),
        ("logits.keras", "gives no probabilities: a teacher ends in a softmax"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            train(images(), out=tmp_path / "x", teacher=tmp_path / name, **SETTINGS)
    assert not (tmp_path / "x").exists()


def test_a_teacher_for_the_phone_sees_images(teacher, tmp_path) -> None:
    pytest.importorskip("tensorflow_model_optimization")
    inputs, path = np.zeros((3, 24, 24, 1), np.float32), tmp_path / "x.tflite"
    with pytest.raises(InputError, match=r"a teacher sees images: give a folder or a data\.Dataset"):
        export.quantize_aware(teacher, (inputs, np.arange(3)), path, teacher=teacher)
    with pytest.raises(InputError, match="a teacher is for quantisation-aware training: give qat too"):
        export.export_run(teacher, ["tflite"], tmp_path, teacher=teacher)
    with pytest.raises(InputError, match="teacher_weight must be a number from 0 to 1; got 2"):
        export.FineTuning(teacher_weight=2)
    assert not list(tmp_path.iterdir())
