"""Losses at auxiliary heads and label smoothing, beside the same sums by hand."""

from contextlib import nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_inception import InputError
from keras_inception.callbacks import AuxiliaryHeads, LabelSmoothing, fade, strip_auxiliary

CLASSES = 4
rng = np.random.default_rng(0)
X = rng.normal(size=(12, 8)).astype("float32")
Y = rng.integers(0, CLASSES, 12)
SPARSE = "sparse_categorical_crossentropy"


def network(*sides: str, activation: str = "softmax") -> keras.Model:
    """Dense heads; a dict of outputs where there are any beside the main one."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8,))
    hidden = keras.layers.Dense(6, activation="relu")(inputs)
    outputs = {name: keras.layers.Dense(CLASSES, activation=activation, name=name)(hidden) for name in sides}
    outputs["predictions"] = keras.layers.Dense(CLASSES, activation=activation, name="predictions")(hidden)
    return keras.Model(inputs, outputs if sides else outputs["predictions"])


def compiled(*sides: str, loss: object = SPARSE, rate: float = 0.0, **kwargs) -> keras.Model:
    model = network(*sides, **kwargs)
    model.compile(keras.optimizers.SGD(rate), loss, metrics=["accuracy"])
    return model


def crossentropy(probabilities: np.ndarray, smoothing: float = 0.0, weights: np.ndarray | float = 1.0) -> float:
    labels = (1 - smoothing) * np.eye(CLASSES)[Y] + smoothing / CLASSES
    return float((-(labels * np.log(probabilities)).sum(-1) * weights).mean())


def heads(model: keras.Model) -> dict[str, np.ndarray]:
    return {name: np.asarray(output) for name, output in model(X).items()}


def logs(model: keras.Model, *callbacks: keras.callbacks.Callback, **kwargs) -> dict[str, list[float]]:
    kwargs = {"epochs": 1, "batch_size": 12, "verbose": 0, "shuffle": False} | kwargs
    return model.fit(X, Y, callbacks=list(callbacks), **kwargs).history


def test_one_set_of_labels_feeds_every_head() -> None:
    model = compiled("aux_1", "aux_2")
    p = heads(model)
    history = logs(model, AuxiliaryHeads(0.3), validation_data=(X, Y))
    aux = [crossentropy(p[name]) for name in ("aux_1", "aux_2")]
    main = crossentropy(p["predictions"])
    assert history["loss"][0] == pytest.approx(main + 0.3 * sum(aux), rel=1e-5)
    assert [history[f"{name}_loss"][0] for name in ("aux_1", "aux_2")] == pytest.approx(aux, rel=1e-5)
    assert history["accuracy"][0] == pytest.approx((p["predictions"].argmax(-1) == Y).mean())
    assert history["aux_2_accuracy"][0] == pytest.approx((p["aux_2"].argmax(-1) == Y).mean())
    assert history["val_loss"][0] == pytest.approx(main, rel=1e-5)  # of the network that is deployed
    assert history["val_aux_1_loss"][0] == pytest.approx(aux[0], rel=1e-5)


def test_gradients_are_those_of_the_weighted_sum() -> None:
    model, by_hand = compiled("aux_1", rate=1.0), network("aux_1")
    logs(model, AuxiliaryHeads(0.4))
    with tf.GradientTape() as tape:
        p = by_hand(X)
        losses = {k: tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(Y, v)) for k, v in p.items()}
        loss = losses["predictions"] + 0.4 * losses["aux_1"]
    for after, w, g in zip(
        model.weights, by_hand.weights, tape.gradient(loss, [w.value for w in by_hand.weights]), strict=True
    ):
        np.testing.assert_allclose(after.numpy(), w.numpy() - g.numpy(), atol=1e-6)


def test_class_weight_and_sample_weight_reach_every_head() -> None:
    model, weights = compiled("aux_1"), {0: 1.0, 1: 5.0, 2: 0.5, 3: 2.0}
    p, w = heads(model), np.array([weights[y] for y in Y])
    expected = crossentropy(p["predictions"], weights=w) + 0.3 * crossentropy(p["aux_1"], weights=w)
    assert logs(model, AuxiliaryHeads(), class_weight=weights)["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert logs(model, AuxiliaryHeads(), sample_weight=w)["loss"][0] == pytest.approx(expected, rel=1e-5)


def test_a_schedule_fades_without_tracing_again() -> None:
    model, traced = compiled("aux_1"), []
    p, forward = heads(model), model.call
    model.call = lambda *args, **kwargs: (traced.append(1), forward(*args, **kwargs))[1]
    counts: list[int] = []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: counts.append(len(traced)))
    losses = logs(model, AuxiliaryHeads(0.3, fade(2)), count, epochs=4)["loss"]
    main, aux = crossentropy(p["predictions"]), crossentropy(p["aux_1"])
    assert losses == pytest.approx([main + 0.3 * aux, main + 0.15 * aux, main, main], rel=1e-5)
    assert counts == counts[:1] * 4
    assert counts[0] > 0


def test_a_later_epoch_starts_where_the_schedule_is() -> None:
    model = compiled("aux_1")
    p = heads(model)
    resumed = logs(model, AuxiliaryHeads(0.3, fade(4)), initial_epoch=3, epochs=4)["loss"][0]
    assert resumed == pytest.approx(crossentropy(p["predictions"]) + 0.075 * crossentropy(p["aux_1"]), rel=1e-5)


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("from_logits", [False, True])
def test_label_smoothing_of_integer_and_one_hot_labels(one_hot: bool, from_logits: bool) -> None:
    kind = keras.losses.CategoricalCrossentropy if one_hot else keras.losses.SparseCategoricalCrossentropy
    model = compiled(loss=kind(from_logits=from_logits), activation="linear" if from_logits else "softmax")
    y = np.eye(CLASSES)[Y] if one_hot else Y
    answers = np.asarray(model(X))
    p = np.asarray(keras.ops.softmax(answers)) if from_logits else answers
    history = model.fit(X, y, batch_size=12, verbose=0, callbacks=[LabelSmoothing(0.1)], validation_data=(X, y)).history
    assert history["loss"][0] == pytest.approx(crossentropy(p, 0.1), rel=1e-5)
    assert history["val_loss"][0] == pytest.approx(crossentropy(p), rel=1e-5)
    assert history["accuracy"][0] == pytest.approx((p.argmax(-1) == Y).mean())


def test_both_together_smooth_every_head_and_leave_nothing_behind() -> None:
    model = compiled("aux_1")
    p = heads(model)
    both = [LabelSmoothing(0.2, lambda epoch: 0.5), AuxiliaryHeads(0.3)]
    expected = crossentropy(p["predictions"], 0.1) + 0.3 * crossentropy(p["aux_1"], 0.1)
    assert logs(model, *both)["loss"][0] == pytest.approx(expected, rel=1e-5)
    plain = crossentropy(p["predictions"]) + 0.3 * crossentropy(p["aux_1"])
    assert logs(model, AuxiliaryHeads(0.3))["loss"][0] == pytest.approx(plain, rel=1e-5)
    model.compile("sgd", SPARSE)  # another loss object is another objective
    assert logs(model, AuxiliaryHeads(0.0))["loss"][0] == pytest.approx(crossentropy(p["predictions"]), rel=1e-5)


def test_the_stripped_network_answers_the_same_and_has_one_output(tmp_path) -> None:
    model = compiled("aux_1", rate=0.1)
    logs(model, AuxiliaryHeads())
    deployed = strip_auxiliary(model)
    np.testing.assert_array_equal(deployed(X), model(X)["predictions"])
    assert not any(layer.name == "aux_1" for layer in deployed.layers)
    deployed.save(tmp_path / "deployed.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "deployed.keras")(X), deployed(X))
    single = network()
    assert strip_auxiliary(single) is single


def listed() -> keras.Model:
    """A functional model whose outputs are a list."""
    inputs = keras.Input((8,))
    model = keras.Model(inputs, [keras.layers.Dense(CLASSES)(inputs) for _ in range(2)], name="two")
    model.compile("sgd", SPARSE)
    return model


def elsewhere(kind: str) -> keras.Model:
    """A model of one output that is not ours."""
    layers = [keras.layers.Dense(6, activation="relu"), keras.layers.Dense(CLASSES, activation="softmax")]
    if kind == "sequential":
        return keras.Sequential([keras.Input((8,)), *layers])
    if kind == "sequential without input":
        return keras.Sequential(layers)
    inputs = keras.Input((8,))
    output = layers[1](layers[0](inputs))
    return keras.Model(inputs, {"list": [output], "dict": {"scores": output}, "tensor": output}[kind])


@pytest.mark.parametrize("kind", ["sequential", "sequential without input", "list", "dict", "tensor"])
def test_models_from_elsewhere(kind: str) -> None:
    model = elsewhere(kind)
    model.compile(keras.optimizers.SGD(0.0), SPARSE)
    loss = logs(model, LabelSmoothing(0.1))["loss"][0]
    (p,) = keras.tree.flatten(model(X))
    assert loss == pytest.approx(crossentropy(np.asarray(p), 0.1), rel=1e-5)
    with pytest.raises(InputError, match="has no auxiliary heads"):
        logs(model, AuxiliaryHeads())
    assert not replaced(model)


class Stop(keras.callbacks.Callback):
    """Ends a `fit` with an exception, as Ctrl-C or a bug does."""

    def __init__(self, error: type[BaseException] | None):
        super().__init__()
        self.error = error

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.error:
            raise self.error


def interrupted(model: keras.Model, error: type[BaseException] | None, *callbacks: keras.callbacks.Callback) -> None:
    """Fit for an epoch, ended by the error, if one is given."""
    with pytest.raises(error) if error else nullcontext():
        logs(model, *callbacks, Stop(error))


def replaced(model: keras.Model) -> set[str]:
    return {"compute_loss", "compute_metrics", "make_train_function", "make_test_function"} & set(vars(model))


ENDS = pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])


@ENDS
def test_after_another_compile_the_new_loss_counts(error) -> None:
    model = network()
    model.compile(keras.optimizers.SGD(0.1), SPARSE)
    interrupted(model, error, LabelSmoothing(0.3))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    expected = np.mean((np.asarray(model(X)) - np.eye(CLASSES)[Y]) ** 2)
    kwargs = {"batch_size": 12, "verbose": 0}
    assert model.evaluate(X, np.eye(CLASSES)[Y], **kwargs) == pytest.approx(expected, rel=1e-5)
    assert model.fit(X, np.eye(CLASSES)[Y], **kwargs).history["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert not replaced(model)


@ENDS
def test_a_later_fit_does_not_smooth(error) -> None:
    model = compiled()
    interrupted(model, error, LabelSmoothing(0.3))
    assert logs(model)["loss"][0] == pytest.approx(crossentropy(np.asarray(model(X))), rel=1e-5)
    assert not replaced(model)


@ENDS
def test_after_auxiliary_heads_a_network_is_as_it_was(error) -> None:
    """Keras wants a dict of labels for a dict of outputs, before and after; the heads' loss is then its own."""
    model = network("aux_1")
    model.compile(keras.optimizers.SGD(0.0), SPARSE)
    interrupted(model, error, AuxiliaryHeads(0.3), LabelSmoothing(0.1))
    p, labels = heads(model), {"aux_1": Y, "predictions": Y}
    history = model.fit(X, labels, batch_size=12, verbose=0).history
    assert not replaced(model)
    assert history["loss"][0] == pytest.approx(sum(map(crossentropy, p.values())), rel=1e-5)
    assert logs(model, AuxiliaryHeads(0.3))["loss"][0] == pytest.approx(
        crossentropy(p["predictions"]) + 0.3 * crossentropy(p["aux_1"]), rel=1e-5
    )
    with pytest.raises(KeyError):
        compiled("aux_1").fit(X, Y, verbose=0)


def test_a_compile_without_metrics_keeps_the_models_own() -> None:
    model = compiled("aux_1")
    metrics = model._compile_metrics
    interrupted(model, KeyboardInterrupt, AuxiliaryHeads(0.3))
    model.compile(keras.optimizers.SGD(0.0), SPARSE)
    logs(model, AuxiliaryHeads(0.3))
    assert model._compile_metrics is metrics


def test_after_an_interruption_one_callback_does_not_keep_the_other_alive() -> None:
    model = compiled("aux_1")
    p, aux = heads(model), AuxiliaryHeads(0.3)
    interrupted(model, KeyboardInterrupt, aux, LabelSmoothing(0.2))
    plain = crossentropy(p["predictions"]) + 0.3 * crossentropy(p["aux_1"])
    assert logs(model, aux)["loss"][0] == pytest.approx(plain, rel=1e-5)


def test_an_epoch_a_fit_traces_once() -> None:
    model, traced, counts = compiled("aux_1", rate=0.1), [], []
    forward, both = model.call, [AuxiliaryHeads(0.3), LabelSmoothing(0.1)]
    model.call = lambda *args, **kwargs: (traced.append(1), forward(*args, **kwargs))[1]
    for epoch in range(3):
        history = logs(model, *both, initial_epoch=epoch, epochs=epoch + 1, validation_data=(X, Y))
        assert not replaced(model)
        right = (np.asarray(forward(X)["predictions"]).argmax(-1) == Y).mean()
        assert history["val_accuracy"][0] == pytest.approx(right)
        counts.append(len(traced))
    assert counts == counts[:1] * 3


def test_evaluate_takes_the_callback() -> None:
    model = compiled("aux_1")
    p, aux = heads(model), AuxiliaryHeads()
    for _ in range(2):
        found = model.evaluate(X, Y, batch_size=12, verbose=0, return_dict=True, callbacks=[aux])
        assert float(found["loss"]) == pytest.approx(crossentropy(p["predictions"]), rel=1e-5)
        assert float(found["aux_1_loss"]) == pytest.approx(crossentropy(p["aux_1"]), rel=1e-5)
        assert not replaced(model)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_a_later_evaluate_is_keras_own(error) -> None:
    model = network("aux_1")
    model.compile(keras.optimizers.SGD(0.0), SPARSE)
    p, options = heads(model), {"batch_size": 12, "verbose": 0, "return_dict": True}
    interrupted(model, error, AuxiliaryHeads(0.3))
    found = model.evaluate(X, {"aux_1": Y, "predictions": Y}, **options)
    assert float(found["loss"]) == pytest.approx(sum(map(crossentropy, p.values())), rel=1e-5)
    assert not replaced(model)
    interrupted(model, error, aux := AuxiliaryHeads(0.3))
    found = model.evaluate(X, Y, callbacks=[aux], **options)
    assert float(found["loss"]) == pytest.approx(crossentropy(p["predictions"]), rel=1e-5)
    assert not replaced(model)


class Evaluate(keras.callbacks.Callback):
    """Evaluates in the middle of a `fit`, as people do on further data."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.found = self.model.evaluate(X, Y, batch_size=12, verbose=0, return_dict=True)


def test_an_evaluate_within_a_fit_has_the_heads() -> None:
    model, within = compiled("aux_1"), Evaluate()
    p = heads(model)
    losses = logs(model, AuxiliaryHeads(0.3), within, epochs=2)["loss"]
    assert losses == pytest.approx([crossentropy(p["predictions"]) + 0.3 * crossentropy(p["aux_1"])] * 2, rel=1e-5)
    assert float(within.found["aux_1_loss"]) == pytest.approx(crossentropy(p["aux_1"]), rel=1e-5)
    assert not replaced(model)


def test_a_network_with_heads_from_a_file(tmp_path) -> None:
    """A file keeps no callbacks; docs/troubleshooting.md has Keras' message."""
    model = compiled("aux_1")
    p = heads(model)
    model.save(tmp_path / "heads.keras")
    loaded = keras.models.load_model(tmp_path / "heads.keras")
    with pytest.raises(KeyError, match=r"The path: .*'aux_1'.* in the `loss` argument, can't be found"):
        loaded.evaluate(X, Y, verbose=0)
    found = loaded.evaluate(X, Y, batch_size=12, verbose=0, return_dict=True, callbacks=[AuxiliaryHeads()])
    assert float(found["loss"]) == pytest.approx(crossentropy(p["predictions"]), rel=1e-5)
    deployed = strip_auxiliary(loaded)
    deployed.compile(loss=SPARSE)
    assert float(deployed.evaluate(X, Y, batch_size=12, verbose=0)) == pytest.approx(float(found["loss"]), rel=1e-5)


class Smoothed(keras.losses.SparseCategoricalCrossentropy):
    """As in the Keras after 3.15."""

    def get_config(self) -> dict:
        return super().get_config() | {"label_smoothing": 0.1}


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"steps_per_execution": 2}, {"run_eagerly": True}])
def test_options_of_compile(options) -> None:
    model = network("aux_1")
    model.compile(keras.optimizers.SGD(0.0), SPARSE, **options)
    p = heads(model)
    loss = logs(model, AuxiliaryHeads(0.3), LabelSmoothing(0.1), batch_size=6)["loss"][0]
    expected = crossentropy(p["predictions"], 0.1) + 0.3 * crossentropy(p["aux_1"], 0.1)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert not replaced(model)


def test_under_a_strategy() -> None:
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        model = compiled("aux_1")
    heads_, p = AuxiliaryHeads(0.3), heads(model)
    heads_.set_model(model)
    expected = crossentropy(p["predictions"], 0.1) + 0.3 * crossentropy(p["aux_1"], 0.1)
    assert logs(model, heads_, LabelSmoothing(0.1))["loss"][0] == pytest.approx(expected, rel=1e-5)


def test_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled("aux_1")
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(logs(model, AuxiliaryHeads(0.3), LabelSmoothing(0.1))["loss"][0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AuxiliaryHeads(-1), "the weight of auxiliary heads must be a number of at least 0; got -1"),
        (lambda: LabelSmoothing(1.0), "label smoothing must be a number from 0 to less than 1; got 1.0"),
        (lambda: fade(0), "a value fades over at least 1 epoch; got 0"),
        (lambda: AuxiliaryHeads().set_model(compiled()), "has no auxiliary heads: build it with aux_heads=True"),
        (lambda: LabelSmoothing().set_model(compiled(loss="mse")), "compile with loss='sparse_categorical_crossen"),
        (
            lambda: LabelSmoothing().set_model(
                compiled(loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1))
            ),
            "the loss already smooths labels",
        ),
        (lambda: LabelSmoothing().set_model(compiled(loss=Smoothed())), "the loss already smooths labels: compile it"),
        (lambda: LabelSmoothing().set_model(network()), "is not compiled"),
        (lambda: AuxiliaryHeads().set_model(listed()), "several outputs must be a dict with 'predictions'; two has"),
    ],
)
def test_what_cannot_be(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
