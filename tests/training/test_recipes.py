"""Recipes: what each says, and that one step of a training is the paper's arithmetic."""

import json

import keras
import numpy as np
import pytest

from keras_inception.builder import register
from keras_inception.data import Shift, from_arrays
from keras_inception.data.presets import PRESETS
from keras_inception.errors import InputError
from keras_inception.registry import ARCHITECTURES, Paper, get
from keras_inception.run import Run
from keras_inception.training import recipes
from keras_inception.training.fine_tuning import deployed
from keras_inception.training.recipes import Cosine, Exponential, Polynomial, Recipe, Steps
from keras_inception.training.recipes.apply import (
    attach,
    averaged,
    callbacks_for,
    compile_for,
    decayed,
    fitting,
    reseed,
)
from keras_inception.training.state import TrainingState
from keras_inception.training.tensorboard import NAME
from keras_inception.training.train import train

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(12, 5)).astype("float32"), rng.integers(0, 3, 12)


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    hidden = keras.layers.Dense(4, activation="tanh", name="backbone")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="logits")(hidden))


def fitted(recipe: Recipe, epochs: int = 1, rates: dict[str, float] | None = None) -> keras.Model:
    """Some epochs of one step each."""
    model = network()
    compile_for(model, recipe, epochs)
    attach(model, recipe)
    for _ in range(epochs):
        with fitting(model, rates):
            model.fit(X, Y, batch_size=12, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_fits_its_network(name: str) -> None:
    recipe = recipes.get(name)
    own = get(recipe.model).own
    assert set(recipe.options) <= set(own)
    assert not recipe.options.get("aux_heads") or recipe.aux_weight in (0.3, 0.4)
    rates = [float(recipe.schedule.over(recipe.learning_rate, 1000)(step)) for step in range(0, 1000, 50)]
    assert max(rates) == pytest.approx(recipe.learning_rate)
    assert 0 < rates[-1] < 0.8 * recipe.learning_rate
    assert json.loads(json.dumps(recipe.to_dict()))["schedule"]["kind"] == type(recipe.schedule).__name__
    model = network()
    compile_for(model, recipe, 10)
    assert type(model.optimizer).__name__ == recipe.optimizer


def test_the_rate_of_each_schedule_by_hand() -> None:
    def rates(schedule, *steps, of=100):
        return pytest.approx([float(schedule.over(0.8, of)(step)) for step in steps], rel=1e-5, abs=1e-9)

    assert rates(Steps((0.5, 0.75)), 0, 49, 50, 74, 75) == [0.8, 0.8, 0.08, 0.08, 0.008]
    assert rates(Steps((0.5,), factor=0.2, warmup=0.1), 9, 10, 50) == [0.08, 0.8, 0.16]
    assert rates(Exponential(0.94, every=0.02), 1, 2, 99) == [0.8, 0.8 * 0.94, 0.8 * 0.94**49]
    assert rates(Cosine(), 0, 50, 100) == [0.8, 0.4, 0.0]
    assert rates(Cosine(warmup=0.2), 0, 10, 20, 60) == [0.0, 0.4, 0.8, 0.4]
    assert rates(Polynomial(), 0, 50, 100) == [0.8, 0.4, 0.0]
    assert rates(Polynomial(0.5), 50) == [0.8 * 0.5**0.5]


def gradients(model: keras.Model) -> list[np.ndarray]:
    """Of the mean cross-entropy over X, from one step of plain descent."""
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    model.train_on_batch(X, Y)
    return [a - b for a, b in zip(before, model.get_weights(), strict=True)]


def test_weight_decay_is_the_papers_penalty() -> None:
    recipe = Recipe(optimizer="SGD", learning_rate=0.5, schedule=Steps(()), weight_decay=0.1)
    before, slope = network().get_weights(), gradients(network())
    after = fitted(recipe).get_weights()
    for w, g, new, is_kernel in zip(before, slope, after, (True, False, True, False), strict=True):
        np.testing.assert_allclose(new, w - 0.5 * (g + 0.1 * w * is_kernel), atol=1e-6)
    everything = fitted(recipe.with_changes({"decayed": "all"}).with_changes({"weight_decay": 0.2}))
    assert len(decayed(everything, "all")) == 4


def test_depthwise_kernels_can_be_spared() -> None:
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(inputs)
    x = keras.layers.SeparableConv2D(4, 3, name="separable")(x)
    model = keras.Model(inputs, keras.layers.BatchNormalization()(x))
    assert [v.path for v in decayed(model, "kernels but depthwise")] == ["separable/pointwise_kernel"]
    assert len(decayed(model, "kernels")) == 3


def test_the_gradient_is_clipped_as_one() -> None:
    free, clipped = (
        fitted(Recipe(optimizer="SGD", schedule=Steps(()), learning_rate=1.0, clip_norm=c)) for c in (None, 0.1)
    )
    moved = [
        np.concatenate([(a - b).ravel() for a, b in zip(model.get_weights(), network().get_weights(), strict=True)])
        for model in (free, clipped)
    ]
    assert np.linalg.norm(moved[0]) > 0.1
    np.testing.assert_allclose(moved[1], 0.1 * moved[0] / np.linalg.norm(moved[0]), atol=1e-6)


@pytest.mark.parametrize("optimizer", ["Adam", "RMSprop"])
def test_a_rate_of_its_own_is_exact_for_every_optimizer(optimizer: str) -> None:
    recipe = Recipe(optimizer=optimizer, learning_rate=0.1, schedule=Steps(()))
    slower = recipe.with_changes({"learning_rate": 0.02})
    backbone = {v.path: 0.2 for v in network().get_layer("backbone").variables}
    mixed = fitted(recipe, rates=backbone)
    for layer, like in (("backbone", slower), ("logits", recipe)):
        for ours, theirs in zip(
            mixed.get_layer(layer).get_weights(), fitted(like).get_layer(layer).get_weights(), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["Adam", "LossScaleOptimizer"])
def test_nothing_of_an_optimizer_stays_changed(optimizer: str) -> None:
    model = network()
    compile_for(model, Recipe(ema=0.9), 1)
    if optimizer != "Adam":
        model.optimizer = keras.optimizers.LossScaleOptimizer(model.optimizer)
    changed = {"finalize_variable_values", "update_step"}
    objects = [model.optimizer, getattr(model.optimizer, "inner_optimizer", model.optimizer)]
    classes = [dict(vars(kind)) for kind in (keras.optimizers.Adam, keras.optimizers.Optimizer)]

    def interrupted() -> None:
        with fitting(model, {"backbone/kernel": 0.5}):
            assert changed == changed & {name for x in objects for name in vars(x)}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not changed & {name for x in objects for name in vars(x)}
    assert classes == [dict(vars(kind)) for kind in (keras.optimizers.Adam, keras.optimizers.Optimizer)]


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("epochs", 2.5, "a positive integer; got 2.5"),
        ("epochs", 0, "a positive integer; got 0"),
        ("batch_size", True, "a positive integer; got True"),
        ("learning_rate", "x", "a positive number; got 'x'"),
        ("learning_rate", float("nan"), "a positive number; got nan"),
        ("learning_rate", -1, "a positive number"),
        ("weight_decay", -1e-4, "a number of at least 0"),
        ("label_smoothing", 1, "a number from 0 to less than 1"),
        ("ema", 1.0, "a number from 0 to less than 1, or None"),
        ("clip_norm", 0, "a positive number, or None"),
        ("aux_fade", [], "a fraction of the training, or None"),
        ("crop", 2, "a fraction above 0, at most 1, or None"),
        ("model", None, "a name; got None"),
        ("options", ["alpha"], "a mapping"),
        ("schedule", "cosine", "a schedule such as"),
        ("augmentation", 0.5, "an augmentation such as"),
        ("balance", 1, "True or False"),
        ("decayed", ["all"], "'kernels' or 'all'"),
        ("freeze_epochs", -1, "an integer of at least 0, or None"),
    ],
)
def test_a_field_of_a_recipe_has_a_type_and_a_range(field: str, value: object, allowed: str) -> None:
    with pytest.raises(InputError, match=f"^{field} must be {allowed}"):
        Recipe(**{field: value})


def test_averages_are_measured_and_training_goes_on_from_its_own_weights() -> None:
    recipe = Recipe(optimizer="SGD", learning_rate=0.5, schedule=Steps(()))
    plain, model = fitted(recipe, epochs=3), fitted(recipe.with_changes({"ema": 0.9999}), epochs=3)
    own = model.get_weights()
    for ours, theirs in zip(own, plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    points = [fitted(recipe, epochs=n).get_weights()[0] for n in (1, 2, 3)]
    expected = points[0]
    for point in points[1:]:
        expected = 0.9 * expected + 0.1 * point  # three steps: an average over 10 at most
    with averaged(model):
        np.testing.assert_allclose(model.get_weights()[0], expected, atol=1e-6)
    for before, after in zip(own, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_what_is_random_depends_on_the_epoch_alone() -> None:
    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dropout(0.5)(keras.layers.Dropout(0.5)(inputs)))
    seen = []
    for epoch in (1, 2, 1):
        reseed(model, 0, epoch)
        seen.append(np.asarray([model(X, training=True), model(X, training=True)]))
    np.testing.assert_array_equal(seen[0], seen[2])
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0][0], seen[0][1])


def test_the_callbacks_of_a_recipe() -> None:
    model = network()
    assert callbacks_for(model, Recipe()) == []
    (smoothing,) = callbacks_for(model, Recipe(label_smoothing=0.1))
    assert smoothing.smoothing == 0.1
    inputs = keras.Input((5,))
    for side, weight in (("aux_1", 0.4), ("exit_1", 1.0)):
        outputs = {k: keras.layers.Dense(3, activation="softmax", name=k)(inputs) for k in (side, "predictions")}
        (heads,) = callbacks_for(keras.Model(inputs, outputs), Recipe(aux_weight=0.4))
        assert heads.weight == weight
    (heads,) = callbacks_for(keras.Model(inputs, outputs), Recipe(aux_fade=0.5))
    fading = callbacks_for(keras.Model(inputs, {"aux_1": outputs["exit_1"], "predictions": outputs["predictions"]}),
                           Recipe(epochs=10, aux_fade=0.5))[0]  # fmt: skip
    assert [fading.schedule(epoch) for epoch in (0, 5)] == [1, 0]


def squares():
    images = np.random.default_rng(0).integers(0, 80, (40, 32, 32))
    images[:20, 8:24, 8:24] += 150
    return from_arrays(images.astype(np.uint8), np.repeat(range(2), 20), ["full", "empty"])


def test_a_run_records_its_recipe_and_what_was_changed(tmp_path) -> None:
    run = train(squares(), out=tmp_path / "x", recipe="resnet_cifar", model="lenet5", epochs=1, batch_size=8, ema=0.99,
                balance=True, tensorboard=True)  # fmt: skip
    assert Run.load(run.path).training["recipe"] == "resnet_cifar"
    assert run.training["epochs"] == 1
    assert run.training["balance"]
    assert [path.name for path in (run.path / "logs").iterdir()] == [NAME]
    assert run.training["learning_rate"] == 0.1
    assert run.training["augmentation"] == {"kind": "Shift", "pixels": 4, "flip": True}
    assert run.training["schedule"] == {"kind": "Steps", "at": [0.5, 0.75], "factor": 0.1, "warmup": 0.0}
    assert run.preprocessing.crop == 1.0  # a paper that shifts its images does not cut off their borders


def test_augmentation_in_words_changes_the_recipe_s_own() -> None:
    for words, expected in (("strong", PRESETS["strong"]), (("pixels=6",), Shift(pixels=6)), ("none", None)):
        assert recipes.get("resnet_cifar").with_changes({"augmentation": words}).augmentation == expected
    with pytest.raises(InputError, match=r"Shift has no 'mixup'.* name a preset first"):
        recipes.get("resnet_cifar").with_changes({"augmentation": ["mixup=0.2"]})


@pytest.fixture
def small():
    """Makes a network of two convolutions with another head behind the first, in the registry while the test runs."""

    def backbone(x):
        x = keras.layers.Conv2D(4, 5, strides=4, activation="relu", name="first")(x)
        return keras.layers.Conv2D(6, 3, activation="relu", name="second")(x)

    def side(x, classes, *, name):
        pooled = keras.layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
        return keras.layers.Dense(classes, name=f"{name}_logits")(pooled)

    def make(**heads):
        paper = Paper(title="", authors="", year=2000, url="")
        register("Small", "small", backbone, paper=paper, input_shape=(32, 32, 3), smallest=16,
                 parameters=None, macs=None, **{kind: {"first": side} for kind in heads})  # fmt: skip

    yield make
    ARCHITECTURES.pop("small", None)


def test_auxiliary_heads_are_trained_and_left(small, tmp_path) -> None:
    small(aux_heads=True)
    run = train(squares(), out=tmp_path / "x", recipe="googlenet", model="small", epochs=1, batch_size=16)
    assert run.training["options"] == {"aux_heads": True}
    assert "aux_heads" not in run.kwargs
    assert "aux_1_loss" in (run.path / "history.csv").read_text()
    model = run.model()
    assert model.output.shape == (None, 2)
    same = get(run.builder).build(**run.kwargs)  # what `run.json` describes is the network that was kept
    assert [w.path for w in same.weights] == [w.path for w in model.weights]


def test_early_exits_are_trained_and_kept(small, tmp_path) -> None:
    small(exits=True)
    run = train(squares(), out=tmp_path / "x", recipe="msdnet_cifar", model="small", epochs=1, batch_size=16)
    assert set(run.model().output) == {"predictions", "exit_1"}
    assert 0 <= run.metrics["exit_1_top1"] <= 1
    assert "val_exit_1_top1" in (run.path / "history.csv").read_text()
    assert "exit_1" in (run.path / "report.html").read_text()


def test_interrupted_with_auxiliary_heads_it_ends_as_an_undisturbed_one(small, tmp_path, monkeypatch) -> None:
    """With everything that keeps a state: heads that fade, smoothing, averages, momentum, dropout, mixed precision."""
    small(aux_heads=True)
    settings = {"recipe": "inception_v3", "model": "small", "epochs": 2, "batch_size": 16, "ema": 0.9, "aux_fade": 1.0,
                "options": {"aux_heads": True, "dropout": 0.5}, "precision": "mixed_float16"}  # fmt: skip
    whole = train(squares(), out=tmp_path / "whole", **settings)
    save = TrainingState.save

    def cut(self, *args, **kwargs):
        save(self, *args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingState, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        train(squares(), out=tmp_path / "cut", **settings)
    monkeypatch.undo()
    resumed = train(squares(), out=tmp_path / "cut", **settings)
    assert resumed.metrics == whole.metrics
    for ours, theirs in zip(resumed.model().get_weights(), whole.model().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_kept_has_no_auxiliary_heads_but_early_exits() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = keras.Input((5,))
        heads = {k: keras.layers.Dense(3, dtype="float32", name=k)(keras.layers.Dense(4, name=f"{k}_hidden")(inputs))
                 for k in ("aux_1", "predictions")}  # fmt: skip
    finally:
        keras.config.set_dtype_policy("float32")
    model = keras.Model(inputs, heads)
    model.get_layer("predictions_hidden").trainable = False
    kept = deployed(model)
    np.testing.assert_allclose(kept(X), model(X)["predictions"], atol=0.05)
    assert {layer.dtype_policy.name for layer in kept.layers} == {"float32"}
    assert len(kept.trainable_variables) == len(kept.layers[1:]) * 2 == 4
    exits = keras.Model(inputs, {"exit_1": heads["aux_1"], "predictions": heads["predictions"]})
    assert set(deployed(exits).output) == {"exit_1", "predictions"}


def test_mixed_precision_leaves_a_float32_network(tmp_path) -> None:
    run = train(squares(), out=tmp_path / "x", model="lenet5", epochs=1, batch_size=8, precision="mixed_float16")
    model = run.model()
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "inception_v33"}, "unknown recipe 'inception_v33': did you mean inception_v3"),
        ({"leaning_rate": 1}, "a recipe has no leaning_rate; it has model"),
        ({"decayed": "biases"}, "decayed must be 'kernels' or 'all'"),
        ({"optimizer": "Sdg"}, "optimizer must be of keras.optimizers: .*; got 'Sdg'"),
        ({"arguments": {"beta": 1}}, "Adam of keras.optimizers with {.beta.: 1}"),
        ({"precision": "int8"}, "precision must be float32, mixed_float16, mixed_bfloat16 or auto; got 'int8'"),
        ({"freeze_epochs": 1}, "freeze_epochs is for a network that starts from weights"),
    ],
)
def test_what_cannot_be_is_one_line(changes, message, tmp_path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        train(squares(), out=tmp_path / "x", **{"model": "lenet5", "epochs": 1} | changes)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x" / "run.json").exists()
