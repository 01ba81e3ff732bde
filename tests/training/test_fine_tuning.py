"""Fine-tuning: what stays, what learns, and that neither features on disk nor an interruption changes the result."""

import csv
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_inception import decode_predictions, preprocess_input
from keras_inception.data import Augmentation, Dataset, Split, from_arrays
from keras_inception.data.rendering import Renderer
from keras_inception.errors import InputError
from keras_inception.registry import get
from keras_inception.run import Run
from keras_inception.training import train
from keras_inception.training.fine_tuning import backbone_of, copy_layers, freeze, head_of, unfreeze
from keras_inception.training.loop import balanced


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_INCEPTION_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def shapes(kinds: int):
    """Grey images of stripes across, stripes down, noise."""
    rng = np.random.default_rng(kinds)
    images = rng.integers(0, 80, (20 * kinds, 32, 32))
    images[0:20, ::4] += 150
    images[20:40, :, ::4] += 150
    return from_arrays(images.astype(np.uint8), np.repeat(range(kinds), 20), ["across", "down", "noise"][:kinds])


NETWORK = {"model": "lenet5", "batch_size": 16}
SETTINGS = NETWORK | {"epochs": 4, "freeze_epochs": 2, "learning_rate": 3e-3, "augmentation": None}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    return train(shapes(3), out=tmp_path_factory.mktemp("runs") / "pretrained", epochs=1, **NETWORK)


@pytest.fixture(scope="module")
def run(pretrained, tmp_path_factory):
    return train(shapes(2), out=tmp_path_factory.mktemp("runs") / "tuned", weights=pretrained.path, **SETTINGS)


def history(run: Run) -> list[dict[str, str]]:
    with open(run.path / "history.csv") as file:
        return [row | {"seconds": ""} for row in csv.DictReader(file)]


def weights(model: keras.Model) -> dict[str, list[np.ndarray]]:
    return {x.name: x.get_weights() for x in backbone_of(model).layers if x.weights}


def same(a: dict[str, list[np.ndarray]], b: dict[str, list[np.ndarray]]) -> list[bool]:
    return [all(map(np.array_equal, a[name], b[name])) for name in a]


def test_features_on_disk_change_nothing(pretrained, tmp_path) -> None:
    """One batch an epoch: the order of images within it is of no importance."""
    settings = SETTINGS | {"epochs": 2, "freeze_epochs": 2, "batch_size": 64}
    runs = [
        train(shapes(2), out=tmp_path / str(cached), weights=pretrained.path, cache_features=cached, **settings)
        for cached in (True, False)
    ]
    for cached, plain in zip(*map(history, runs), strict=True):
        assert numbers(cached) == pytest.approx(numbers(plain), abs=1e-4)
    for run in runs:
        assert all(same(weights(pretrained.model()), weights(run.model())))
        assert run.model().output.shape == (None, 2)
    for ours, theirs in zip(*(run.model().get_weights() for run in runs), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def numbers(row: dict[str, str]) -> dict[str, float]:
    return {k: float(v) for k, v in row.items() if v}


def test_the_backbone_learns_in_the_second_stage(pretrained, tmp_path) -> None:
    settings = SETTINGS | {"epochs": 1, "freeze_epochs": 0}
    run = train(shapes(2), out=tmp_path / "x", weights=pretrained.path, **settings)
    assert not any(same(weights(pretrained.model()), weights(run.model())))
    assert all(layer.trainable for layer in run.model().layers)


def normed() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(momentum=0.5, name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(0.5, name="drop")(x)
    x = keras.layers.Dense(2, name="logits")(x)
    return keras.Model(inputs, keras.layers.Activation("softmax", name="predictions")(x))


@pytest.mark.parametrize(
    ("prepare", "learns"),
    [
        (freeze, {"logits"}),
        (partial(unfreeze, batch_norm=False), {"conv", "logits"}),
        (partial(unfreeze, batch_norm=True), {"conv", "norm", "logits"}),
    ],
)
def test_what_learns_and_what_keeps_its_statistics(prepare, learns) -> None:
    model, rng = normed(), np.random.default_rng(0)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    freeze(model)
    prepare(model)
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.fit(rng.normal(3, 2, (16, 8, 8, 3)), rng.integers(0, 2, 16), verbose=0)
    changed = {x.name for x in model.layers if not all(map(np.array_equal, x.get_weights(), before[x.name]))}
    assert changed == learns
    assert backbone_of(model).output.name == model.get_layer("pool").output.name  # the dropout is the head's


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pooling": "avg"},
        {"pooling": "max"},
        {"applications": True},
        {"applications": True, "pooling": "avg"},
    ],
)
def test_a_network_without_a_top_is_a_backbone(options) -> None:
    applications = options.pop("applications", False)
    build = keras.applications.MobileNetV2 if applications else get("squeezenet1_1").build
    network = build(include_top=False, input_shape=(64, 64, 3), weights=None, **options)
    freeze(network)
    assert not network.trainable_variables
    head = keras.layers.Dense(2)(keras.layers.Flatten()(network.output))
    whole = keras.Model(network.input, head)
    freeze(whole)
    assert len(whole.trainable_variables) == 2
    unfreeze(network, batch_norm=False)
    norms = {isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers if not layer.trainable}
    assert norms <= {True}
    assert network.trainable_variables


def test_heads_learn_while_the_backbone_is_frozen() -> None:
    network = get("inception_v1_bn").build(aux_heads=True, classes=3, input_shape=(64, 64, 3))
    freeze(network)
    learning = {layer.name for layer in network.layers if layer.trainable_variables}
    assert learning >= {"logits", "aux_1_logits", "aux_2_logits"}
    assert all(name == "logits" or name.startswith("aux_") for name in learning)


class Subclassed(keras.Model):
    """A model whose layers cannot be followed."""


def test_what_has_no_backbone_to_freeze() -> None:
    with pytest.raises(InputError, match="is not a functional model, so its layers cannot be followed"):
        freeze(Subclassed())
    inputs = keras.Input((8,))
    two = keras.Model(inputs, [keras.layers.Dense(2, name=name)(inputs) for name in ("left", "right")])
    with pytest.raises(InputError, match=r"has 2 outputs \(left, right\) and none is called predictions"):
        freeze(two)


def test_preprocessing_follows_the_weights(pretrained, tmp_path) -> None:
    other = replace(pretrained, preprocessing=replace(pretrained.preprocessing, mean=(9.0,), crop=1.0))
    other = replace(other, path=tmp_path / "other")
    other.path.mkdir()
    pretrained.model().save(other.path / "model.keras")
    other.save()
    settings = SETTINGS | {"epochs": 1, "freeze_epochs": 1}
    run = train(shapes(2), out=tmp_path / "x", weights=other.path / "model.keras", **settings)
    assert run.preprocessing == other.preprocessing


def test_a_run_decodes_its_own_classes(pretrained) -> None:
    run, picture = Run.load(pretrained.path), np.full((40, 50, 3), 200, np.uint8)
    model = run.model()
    prepared = preprocess_input(picture[None], model)
    np.testing.assert_array_equal(prepared, preprocess_input(picture[None], run))
    probabilities = model.predict_on_batch(prepared)
    [best] = decode_predictions(probabilities, model, top=1)
    assert best == decode_predictions(probabilities, run)[0][:1]
    assert best[0].name == run.labels[int(np.argmax(probabilities))]


def cut_after(monkeypatch, count: int) -> None:
    """Interrupt the training when its `count`-th epoch begins."""
    from keras_inception.training import loop

    begun: list[int] = []
    reseed = loop.reseed

    def cut(*args):
        begun.append(1)
        if len(begun) == count:
            raise KeyboardInterrupt
        reseed(*args)

    monkeypatch.setattr(loop, "reseed", cut)


@pytest.mark.parametrize("cut", [2, 4, pytest.param(3, marks=pytest.mark.slow)])
def test_interrupted_in_any_stage_it_ends_as_an_undisturbed_one(cut, pretrained, run, tmp_path, monkeypatch) -> None:
    cut_after(monkeypatch, cut)
    with pytest.raises(KeyboardInterrupt):
        train(shapes(2), out=tmp_path / "x", weights=pretrained.path, **SETTINGS)
    monkeypatch.undo()
    (tmp_path / "x").rename(tmp_path / "y")
    keras.utils.set_random_seed(99)  # in another process it would be another one too
    resumed = train(shapes(2), out=tmp_path / "y", weights=pretrained.path, **SETTINGS)
    assert history(resumed) == history(run)
    for ours, theirs in zip(resumed.model().get_weights(), run.model().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


SCRIPT = """
import sys
from tests.training.test_fine_tuning import SETTINGS, KILLED, shapes, train
train(shapes(2), out=sys.argv[1], weights=sys.argv[2], **KILLED)
"""
KILLED = SETTINGS | {
    "augmentation": Augmentation(),
    "epochs": 8,
    "freeze_epochs": 4,
    "ema": 0.99,
    "label_smoothing": 0.1,
    "weight_decay": 1e-4,
    "clip_norm": 1.0,
    "optimizer": "RMSprop",
}


@pytest.mark.slow
def test_a_network_with_batch_norms_in_both_stages(tmp_path) -> None:
    network = {"model": "mobilenet_v1", "options": {"alpha": 0.25}, "size": 32, "batch_size": 16, "epochs": 2}
    first = train(shapes(3), out=tmp_path / "first", weights=None, **network)
    second = train(shapes(2), out=tmp_path / "second", weights=first.path, learning_rate=0.01, **network)
    before, after = first.model(), second.model()
    norms = [x.name for x in before.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert all(
        all(map(np.array_equal, before.get_layer(n).get_weights(), after.get_layer(n).get_weights())) for n in norms
    )


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_as_an_undisturbed_one(pretrained, tmp_path) -> None:
    def start(name: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", SCRIPT, tmp_path / name, pretrained.path])

    began = time.monotonic()
    assert start("whole").wait() == 0
    whole = time.monotonic() - began
    rng = np.random.default_rng()
    for _ in range(2):
        process = start("killed")
        time.sleep(rng.uniform(0.3, 0.9) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
    if not (tmp_path / "killed" / "run.json").exists():
        assert start("killed").wait() == 0
    ours, theirs = (Run.load(tmp_path / name) for name in ("killed", "whole"))
    assert history(ours) == history(theirs)
    for a, b in zip(ours.model().get_weights(), theirs.model().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_rare_classes_are_weighed_up() -> None:
    labels = np.repeat([0, 1, 2], [10, 30, 20])
    weighted = balanced(labels, 4)  # one class has no images
    shares = np.eye(4, dtype=np.float32)[[0, 1, 2]] * 0.6 + 0.1
    for y in (np.arange(3), np.hstack([shares, shares[:, ::-1]])):  # labels; shares of mixed images beside a teacher's
        weights = weighted(tf.zeros((3, 2)), tf.constant(y))[2].numpy()
        np.testing.assert_allclose(weights * [10, 30, 20], 20, rtol=1e-6)


@pytest.mark.parametrize("name", ["squeezenet1_0", pytest.param("inception_v3", marks=pytest.mark.slow)])
def test_backbone_and_head_together_are_the_network(name: str) -> None:
    side = 128 if name == "inception_v3" else 64  # the auxiliary head needs a map of 5 x 5
    options = {"aux_heads": True} if name == "inception_v3" else {}
    network = get(name).build(input_shape=(side, side, 3), classes=4, **options)
    backbone, head = backbone_of(network), head_of(network)
    x = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype("float32")
    whole = network(x)
    np.testing.assert_allclose(head(backbone(x)), whole["predictions"] if options else whole, atol=1e-6)
    kinds = [type(layer).__name__ for layer in head.layers if layer.weights]
    assert kinds in (["Dense"], ["Conv2D"])
    assert not any(layer.name.startswith("aux") for layer in backbone.layers)
    assert name == "inception_v3" or "Dropout" in [type(layer).__name__ for layer in head.layers]


def test_layers_are_copied_by_name_or_not_at_all() -> None:
    ours, theirs = (get("lenet5").build(classes=n) for n in (3, 3))
    copy_layers(theirs, ours)
    assert all(map(np.array_equal, ours.get_weights(), theirs.get_weights()))
    before = ours.get_weights()
    with pytest.raises(InputError, match=r"has no layer .* of the shapes"):
        copy_layers(get("lenet5").build(classes=10), ours)
    assert all(map(np.array_equal, ours.get_weights(), before))


def test_freeze_epochs_are_some_of_the_epochs(pretrained, tmp_path) -> None:
    with pytest.raises(InputError, match="freeze_epochs must be from 0 to the 4 epochs; got 9"):
        train(shapes(2), out=tmp_path / "x", weights=pretrained.path, **SETTINGS | {"freeze_epochs": 9})


def test_the_split_is_read_once(pretrained, tmp_path, monkeypatch) -> None:
    """While the backbone stays no epoch reads an image."""
    read, batches, render = [], Split.batches, Renderer.__call__
    monkeypatch.setattr(Split, "batches", lambda self, *a, **k: (read.append(len(self)), batches(self, *a, **k))[1])
    monkeypatch.setattr(Renderer, "__call__", lambda self, *a: (read.append(len(self.sources)), render(self, *a))[1])
    settings = SETTINGS | {"epochs": 3, "freeze_epochs": 3}
    monkeypatch.setenv("KERAS_INCEPTION_HOME", str(tmp_path))
    data = shapes(2)
    train(data, out=tmp_path / "x", weights=pretrained.path, **settings)
    assert read[:2] == [len(data.train), len(data.val)]
    assert set(read[2:]) == {len(data.val)}  # the finished network is measured, and drawn for the report


def test_labels_in_doubt_are_listed_and_shown(pretrained, tmp_path) -> None:
    images = shapes(2)
    wrong = images.train.labels.copy()
    wrong[0] = 1 - wrong[0]
    dataset = Dataset(replace(images.train, labels=wrong), images.val)
    settings = SETTINGS | {"epochs": 1, "freeze_epochs": 1}
    run = train(dataset, out=tmp_path / "x", weights=pretrained.path, **settings)
    with open(run.path / "doubts.csv") as file:
        first = next(csv.DictReader(file))
    digest = images.train.content_digests()[0].tobytes().hex()
    label, other = (images.classes[i] for i in (wrong[0], 1 - wrong[0]))
    assert (first["side"], first["label"], first["looks_like"], first["sha256"]) == ("training", label, other, digest)
    page = (run.path / "report.html").read_text()
    assert "<h2>Labels in doubt</h2>" in page
    assert f"labelled {label}, looks like {other} (training)" in page
