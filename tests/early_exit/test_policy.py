"""Early exits: what stopping costs, thresholds that meet a budget, and that no more is computed than that."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from keras_inception import InceptionV1, InputError, MSDNetCIFARBudget, early_exit
from keras_inception.analysis.cost import blueprint, total
from keras_inception.early_exit.policy import NEVER, Cascade, Policy


def toy() -> keras.Model:
    """Three exits of two classes; exit k is sure of an image of one pixel as its channel k says: sigmoid(2 z)."""
    images = keras.Input((1, 1, 3), name="images")
    softmax = layers.Softmax()  # one layer, called three times
    x, outputs = layers.Flatten()(images), {}
    for k, name in enumerate(("exit_1", "exit_2", "predictions")):
        if k:
            x = layers.Dense(3, use_bias=False, kernel_initializer="identity")(x)
        logits = layers.Dense(2, use_bias=False, name=f"{name}_logits")
        outputs[name] = softmax(logits(x))
        logits.set_weights([np.outer(np.eye(3)[k], (1, -1))])
    return keras.Model(images, outputs, name="toy")


def convolutional() -> keras.Model:
    """Its exits share maps, and the last one reads the images once more."""
    images = keras.Input((8, 8, 3), name="images")
    fine = layers.Conv2D(4, 3, padding="same", activation="relu")(images)
    coarse = layers.BatchNormalization()(layers.Conv2D(6, 3, 2, padding="same")(fine))
    deep = layers.Conv2D(8, 3, padding="same")(layers.Concatenate()([coarse, layers.AveragePooling2D(2)(fine)]))
    again = layers.Concatenate()([deep, layers.Dropout(0.5)(layers.AveragePooling2D(2)(images))])
    ends = {"late": again, "early": coarse, "middle": deep}
    return keras.Model(
        images,
        {k: layers.Dense(5, "softmax", name=k)(layers.GlobalMaxPooling2D()(x)) for k, x in ends.items()},
        name="convolutional",
    )


def noise(model: keras.Model, count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *model.input_shape[1:])).astype("float32")


def msdnet() -> keras.Model:
    return MSDNetCIFARBudget(input_shape=(16, 16, 3))


@pytest.fixture(scope="module", params=[convolutional, msdnet])
def cascade(request: pytest.FixtureRequest) -> Cascade:
    keras.utils.set_random_seed(0)
    return Cascade(request.param())


@pytest.fixture(scope="module")
def small() -> Cascade:
    keras.utils.set_random_seed(0)
    return Cascade(convolutional())


# ---------------------------------------------------------------------------------------------------------- the cascade


def test_costs_by_hand() -> None:
    cascade = Cascade(toy())
    assert cascade.names == ("exit_1", "exit_2", "predictions")
    assert cascade.macs == (6, 6 + 9 + 6, 6 + 9 + 6 + 9 + 6)


def test_an_exit_costs_what_it_and_those_before_it_need() -> None:
    model = blueprint(MSDNetCIFARBudget)
    cascade = Cascade(model)
    assert cascade.names == (*(f"exit_{k}" for k in range(1, 7)), "predictions")
    needed = [total(keras.Model(model.input, list(cascade.outputs.values())[: k + 1])).macs for k in range(7)]
    assert list(cascade.macs) == needed
    assert cascade.macs[-1] == total(model).macs == 136_484_608


def test_auxiliary_classifiers_are_exits_too() -> None:
    assert Cascade(blueprint(InceptionV1, aux_heads=True)).names == ("aux_1", "aux_2", "predictions")


def test_stages_give_what_the_whole_network_gives(cascade: Cascade) -> None:
    model = cascade.model
    images = noise(model, 21)
    whole = model(images)
    staged = cascade.every_exit(images, batch_size=8)
    for name, answers in zip(cascade.names, staged, strict=True):
        assert answers.std(axis=0).max() > 1e-3  # the exit looks at the image
        np.testing.assert_allclose(answers, whole[name], atol=1e-5, err_msg=name)


def test_a_image_gets_the_answer_of_its_exit_and_no_stage_behind_it_runs(cascade: Cascade, monkeypatch) -> None:
    images = noise(cascade.model, 40)
    everything = cascade.every_exit(images, batch_size=40)
    policy = early_exit.calibrate(cascade, images, budget=np.mean(cascade.macs))
    computed = np.zeros(len(cascade.names), int)

    def watched(k, stage):
        def run(*tensors):
            computed[k] += len(tensors[0])
            assert {len(tensor) for tensor in tensors} == {len(tensors[0])}
            return stage(*tensors)

        return run

    monkeypatch.setattr(cascade, "stages", [watched(k, stage) for k, stage in enumerate(cascade.stages)])
    answer = policy.predict(images, batch_size=16)
    assert len(set(answer.exits)) > 1
    np.testing.assert_allclose(answer.probabilities, everything[answer.exits - 1, np.arange(40)], atol=1e-5)
    assert computed.tolist() == [(answer.exits > k).sum() for k in range(len(cascade.names))]
    assert answer.macs.sum() == computed @ np.diff(cascade.macs, prepend=0)


def test_the_network_stays_as_it_was_and_its_weights_are_followed(small: Cascade) -> None:
    images = noise(small.model, 3)
    before = small.every_exit(images)
    for layer in small.model.layers:
        assert layer.output is not None  # ambiguous, an error, were the layers called again
    kernel = small.model.get_layer("early").kernel
    kept = kernel.numpy()
    kernel.assign(kept * 2)
    after = small.every_exit(images)
    kernel.assign(kept)
    assert np.abs(after[0] - before[0]).max() > 1e-3
    np.testing.assert_array_equal(after[1:], before[1:])


def test_batches_of_any_size_and_kind_give_the_same(small: Cascade) -> None:
    images = noise(small.model, 23)
    policy = early_exit.calibrate(small, images, budget=np.mean(small.macs))
    expected = policy.predict(images, batch_size=23)
    pairs = [(images[:9], np.zeros(9)), (images[9:], np.zeros(14))]
    for source, size in ((images, 1), (images, 4), (pairs, 5), (pairs, 64)):
        answer = policy.predict(source, batch_size=size)
        np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-6)
        np.testing.assert_array_equal(answer.exits, expected.exits)


# ------------------------------------------------------------------------------------------------------------- budgets


def test_calibration_by_hand() -> None:
    """With 1 - q = 1/2, four of seven images leave at exit 1, two at exit 2 and one at the last."""
    z = np.array([[7, 6, 5, 4, 3, 2, 1], [9, 9, 9, 9, 1, 3, 2], [1, 1, 1, 1, 1, 1, 1]]) / 10
    images = z.T.reshape(7, 1, 1, 3).astype("float32")
    policy = early_exit.calibrate(toy(), images, budget=(4 * 6 + 2 * 21 + 36) / 7)
    np.testing.assert_allclose(policy.shares, [4 / 7, 2 / 7, 1 / 7], rtol=1e-6)
    np.testing.assert_allclose(policy.thresholds, [1 / (1 + np.exp(-0.8)), 1 / (1 + np.exp(-0.4)), 0], rtol=1e-5)
    answer = policy.predict(images)
    assert answer.exits.tolist() == [1, 1, 1, 1, 3, 2, 2]
    assert answer.macs.tolist() == [6, 6, 6, 6, 36, 21, 21]


@pytest.mark.parametrize(
    ("budget", "shares"),
    [(6, (1, 0, 0)), (36, (0, 0, 1)), (21, (1 / 3, 1 / 3, 1 / 3)), ((6 + 2 * 21 + 4 * 36) / 7, (1 / 7, 2 / 7, 4 / 7))],
)
def test_the_budget_gives_the_geometric_distribution(budget: float, shares: tuple) -> None:
    images = noise(toy(), 50)
    policy = early_exit.calibrate(toy(), images, budget=budget)
    np.testing.assert_allclose(policy.shares, shares, atol=1e-6)
    left = np.bincount(policy.predict(images).exits, minlength=4)[1:]
    np.testing.assert_allclose(left, 50 * np.array(shares), atol=1)


def test_ties_leave_together_and_the_next_exit_makes_up_for_them() -> None:
    images = np.zeros((9, 1, 1, 3), "float32")
    images[:, 0, 0, 1] = np.arange(9)
    policy = early_exit.calibrate(toy(), images, budget=21)
    assert policy.predict(images).exits.tolist() == [1] * 9  # all are equally sure: a third cannot leave alone
    images[:4, 0, 0, 0] = -1  # four are surer, so 4 leave in place of 3
    answer = early_exit.calibrate(toy(), images, budget=21).predict(images)
    assert answer.exits.tolist() == [1, 1, 1, 1, 3, 3, 3, 2, 2]


def test_a_greater_budget_is_spent_and_lets_fewer_leave_at_once(small: Cascade) -> None:
    images, others = noise(small.model, 500)[:300], noise(small.model, 500)[300:]
    budgets = np.linspace(small.macs[0], small.macs[-1], 7)
    policies = [early_exit.calibrate(small, images, budget=budget) for budget in budgets]
    first = [policy.thresholds[0] for policy in policies]
    assert first == sorted(first)
    assert (first[0], first[-1]) == (0, NEVER)
    spent = [policy.predict(images).macs.mean() for policy in policies]
    np.testing.assert_allclose(spent, budgets, rtol=0.01)
    spent = [policy.predict(others).macs.mean() for policy in policies]
    assert spent == sorted(spent)
    assert spent[0] == small.macs[0]
    assert spent[-1] == small.macs[-1]


def test_a_policy_survives_as_json(small: Cascade, tmp_path: Path) -> None:
    images = noise(small.model, 30)
    policy = early_exit.calibrate(small.model, images, budget=0.7 * small.macs[-1])
    policy.save(tmp_path / "policy.json")
    again = Policy.load(tmp_path / "policy.json", small.model)
    assert (again.budget, again.thresholds, again.shares) == (policy.budget, policy.thresholds, policy.shares)
    np.testing.assert_array_equal(again.predict(images).exits, policy.predict(images).exits)
    with pytest.raises(InputError, match=r"belongs to a network with the exits early .* this one has exit_1 \(6\)"):
        Policy.load(tmp_path / "policy.json", toy())
    for text in ("{", "[]", '{"budget": 1}', '{"budget": 1, "exits": [3]}'):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(InputError, match=r"other\.json is not a file of Policy"):
            Policy.load(tmp_path / "other.json", small)
    with pytest.raises(InputError, match=r"none\.json is not a file of Policy"):
        Policy.load(tmp_path / "none.json", small)


# --------------------------------------------------------------------------------------------------------------- curve


def test_a_curve_measures_what_its_policies_do(small: Cascade, tmp_path: Path) -> None:
    held_out, images = np.split(noise(small.model, 90), [40])
    labels = small.every_exit(images)[-1].argmax(axis=1)
    curve = early_exit.curve(small, held_out, images, labels, budgets=5)
    assert [point.policy.budget for point in curve.budgets] == np.linspace(small.macs[0], small.macs[-1], 5).tolist()
    for point in (*curve.exits, *curve.budgets):
        answer = point.policy.predict(images)
        assert point.macs == answer.macs.mean()
        assert point.accuracy == (answer.probabilities.argmax(axis=1) == labels).mean()
    assert [point.macs for point in curve.exits] == list(small.macs)
    assert curve.exits[-1].accuracy == curve.budgets[-1].accuracy == 1

    early_exit.plot(curve, tmp_path / "curve.png", title="noise")
    with Image.open(tmp_path / "curve.png") as image:
        assert len(image.getcolors(2**20)) > 10
    with pytest.raises(InputError, match=r"\.png.*got 'curve\.xyz'"):
        early_exit.plot(curve, "curve.xyz")
    assert [file.name for file in tmp_path.iterdir()] == ["curve.png"]


# -------------------------------------------------------------------------------------------------------------- errors


def test_a_network_without_exits() -> None:
    model = blueprint(MSDNetCIFARBudget, exits=False)
    with pytest.raises(InputError, match="msdnet_cifar_budget has no early exits"):
        early_exit.calibrate(model, np.zeros((1, 32, 32, 3), "float32"), budget=1e6)


def test_outputs_that_are_no_exits() -> None:
    images = keras.Input((1, 1, 3))
    flat = layers.Flatten()(images)
    model = keras.Model(images, {"map": images, "classes": layers.Softmax()(flat)}, name="mixed")
    with pytest.raises(InputError, match=r"every output must be an exit.*mixed has .*map \(1, 1, 3\)"):
        Cascade(model)
    other = keras.Input((3,))
    model = keras.Model([images, other], {"a": layers.Softmax()(flat), "b": layers.Softmax()(other)}, name="two")
    with pytest.raises(InputError, match="two has 2 inputs"):
        Cascade(model)
    model = keras.Model(images, {"a": layers.Dense(3)(flat), "b": layers.Softmax()(layers.Dense(3)(flat))})
    with pytest.raises(InputError, match="a gives no probabilities"):
        early_exit.calibrate(model, noise(model, 5), budget=10)


@pytest.mark.parametrize("budget", [5, 37, -1])
def test_budgets_out_of_range(budget) -> None:
    pattern = r"6 \(all leave at exit_1\) to 36 \(none before predictions\); got " + re.escape(repr(budget))
    with pytest.raises(InputError, match=pattern):
        early_exit.calibrate(toy(), np.zeros((2, 1, 1, 3), "float32"), budget=budget)


@pytest.mark.parametrize("budget", [float("nan"), "6", None])
def test_budgets_that_are_no_numbers(budget) -> None:
    pattern = r"budget must be multiply-adds per image, from the first to the last .*; got " + re.escape(repr(budget))
    with pytest.raises(InputError, match=pattern):
        early_exit.calibrate(toy(), np.zeros((2, 1, 1, 3), "float32"), budget=budget)


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (np.zeros((2, 3, 3, 3), "float32"), r"got \(2, 3, 3, 3\) float32"),
        (np.zeros((1, 1, 3), "float32"), r"got \(1, 1, 3\) float32"),
        (np.zeros((2, 1, 1, 3), "uint8"), r"got \(2, 1, 1, 3\) uint8"),
        (np.zeros((0, 1, 1, 3), "float32"), r"got \(0, 1, 1, 3\) float32"),
        ([], "there are no images"),
        (["a.jpg"], r"got \(\) str"),
    ],
)
def test_images_of_another_kind(images, got) -> None:
    with pytest.raises(InputError, match=got):
        early_exit.calibrate(toy(), images, budget=10)


@pytest.mark.parametrize("labels", [np.zeros(3, int), np.zeros((2, 1), int), np.zeros(2), np.array([0, 2])])
def test_labels_of_another_kind(labels) -> None:
    images = np.zeros((2, 1, 1, 3), "float32")
    with pytest.raises(InputError, match=r"labels must be \(2,\) integers, 0 to 1"):
        early_exit.curve(toy(), images, images, labels)
