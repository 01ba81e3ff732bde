"""Kernels rounded together and ranges made narrower: each alone, and the effect in a file."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_inception import export
from keras_inception.export.quantization import rounding
from keras_inception.export.quantization.bias_correction import bias_corrected
from keras_inception.export.quantization.rounding import rounded
from keras_inception.export.tflite import convert
from keras_inception.export.tflite.ranges import Values

from .test_bias_correction import LAYERS, OUTPUTS, chain, in_int8

SIZE = 12
TAKEN = {kind: make for kind, make in LAYERS.items() if kind not in ("separable", "transposed")}


def smooth(seed):
    """Images whose neighbouring pixels are alike, as maps are: (64, SIZE, SIZE, 3)."""
    coarse = np.random.default_rng(seed).uniform(0, 1, (64, SIZE // 4, SIZE // 4, 3))
    noise = np.random.default_rng(seed + 1).normal(0, 0.03, (64, SIZE, SIZE, 3))
    return (coarse.repeat(4, axis=1).repeat(4, axis=2) + noise).astype("float32")


SHOWN, HELD_OUT = smooth(0), smooth(2)


def error(model, other):
    return float(np.square(np.asarray(model(HELD_OUT)) - np.asarray(other(HELD_OUT))).mean())


@pytest.mark.parametrize("kind", TAKEN)
def test_kernels_are_multiples_of_a_step_and_keep_the_largest(kind):
    model = chain(kind)
    before = model.get_weights()
    [kernel, bias] = rounded(model, np.split(SHOWN, 4)).layers[1].get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    assert np.abs(bias).max() > 0
    others = tuple(a for a in range(kernel.ndim) if a not in OUTPUTS.get(kind, (kernel.ndim - 1,)))
    largest = np.abs(before[0]).max(axis=others, keepdims=True)
    np.testing.assert_array_equal(np.abs(kernel).max(axis=others, keepdims=True), largest)
    whole = kernel / (largest / 127)
    np.testing.assert_allclose(whole, np.round(whole), atol=1e-4)


@pytest.mark.parametrize("kind", sorted(set(TAKEN) - {"dense"}))  # its three inputs tell little of each other
def test_outputs_change_less_than_by_rounding_each_weight(kind):
    model = chain(kind)
    together = rounded(model, np.split(SHOWN, 4))
    together.kinds = model.kinds
    nearest = bias_corrected(model, np.split(SHOWN, 4))
    nearest.kinds = model.kinds
    assert error(model, in_int8(together)) < 0.7 * error(model, in_int8(nearest))


def test_layers_that_it_does_not_take_stay_as_they_are():
    model = chain("plain", "separable", "transposed", "dense")
    names = [layer.name for layer in model.layers]
    result = rounded(model, [SHOWN], leave=[names[1]])
    for before, after in zip(model.layers[1:4], result.layers[1:4], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(before.get_weights(), after.get_weights(), strict=True))
    assert not np.array_equal(model.layers[4].get_weights()[0], result.layers[4].get_weights()[0])


def test_layers_in_several_portions_are_rounded_as_in_one(monkeypatch):
    model = chain("plain", "depthwise", "dense")
    whole = rounded(model, [SHOWN]).get_weights()
    monkeypatch.setattr(rounding, "IN_MEMORY", 1)
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(whole, rounded(model, [SHOWN]).get_weights(), strict=True))


def test_few_samples_do_not_decide_about_many_inputs():
    """Rounding by 20 samples of 100 inputs is no worse than nearest on others."""
    rng = np.random.default_rng(0)
    kernel, shown, others = rng.normal(0, 1, (1, 100, 50)), rng.normal(0, 1, (20, 100)), rng.normal(0, 1, (1000, 100))
    step = np.abs(kernel).max(axis=1, keepdims=True) / 127
    nearest = np.round(kernel / step) * step
    covariance = np.cov(shown.T, bias=True)[np.newaxis]
    by_samples, shrunk = (rounding.on_grid(kernel, c) for c in (covariance, rounding._shrunk(covariance, 20)))
    errors = [float(np.square(others @ (new - kernel)[0]).sum()) for new in (by_samples, shrunk, nearest)]
    assert errors[1] < 1.3 * errors[2] < errors[0]


@pytest.mark.parametrize("kind", sorted(set(TAKEN) - {"dense"}))
def test_inputs_that_vary_little_beside_their_mean(kind):
    """Seen from 0, float32 leaves their variance no digit: it came out below 0."""
    model = chain(kind)
    shown, judged = (1000 + 0.05 * x for x in (SHOWN, HELD_OUT))
    together, nearest = (method(model, np.split(shown, 4)) for method in (rounded, bias_corrected))
    errors = []
    for other in (together, nearest):
        other.kinds = model.kinds
        error = np.asarray(model(judged)) - np.asarray(in_int8(other)(judged))
        errors.append(error[:, 2:-2, 2:-2].std())  # zeros beyond the border are far from everything else
    assert errors[0] < errors[1]


def test_a_network_that_overflows_keeps_its_kernels():
    model = chain("plain", "dense")
    with np.errstate(all="ignore"):
        kept = rounded(model, [np.full_like(SHOWN, 3e38)])
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), kept.get_weights(), strict=True))


def counted(values):
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    found = Values(low, high)
    found.add(values.astype("float32"))
    return found.best(), (low, high)


def test_a_range_is_narrower_where_few_values_are_far_out():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 100_000)
    (low, high), _ = counted(np.append(values, 40.0))
    assert -5 < low < -3
    assert high < 40
    (low, high), whole = counted(rng.uniform(-1, 3, 100_000))
    assert (low, high) == pytest.approx(whole, rel=0.02)


def test_zeros_make_no_range_narrower():
    """What a ReLU sets to 0 is exact in int8."""
    some = np.random.default_rng(0).exponential(1, 1000)
    alone, _ = counted(some)
    with_zeros, _ = counted(np.append(some, np.zeros(1_000_000)))
    assert alone == with_zeros


def outliers():
    """A network whose first map has rare values far out, and images that show them."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(16, 3, name="first")(image)
    x = layers.Conv2D(16, 3, activation="relu")(layers.LeakyReLU(0.5)(x))
    model = keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))
    inputs = np.random.default_rng(0).normal(0, 1, (128, SIZE, SIZE, 3)).astype("float32")
    inputs[::16, 5, 5] *= 30
    return model, inputs


def test_a_file_with_kernels_rounded_together_is_nearer(tmp_path, monkeypatch):
    """With activations in 16 bits, so that the kernels make the noise."""
    model = chain("plain", "strided")
    path, options = tmp_path / "int16.tflite", {"quantization": "int16x8", "calibration": SHOWN, "overwrite": True}
    together = export.agreement(export.to_tflite(model, path, **options), model, HELD_OUT).snr
    monkeypatch.setattr(rounding, "rounded", lambda model, inputs, leave: model)
    assert together > export.agreement(export.to_tflite(model, path, **options), model, HELD_OUT).snr + 2


def test_a_file_with_narrower_ranges_is_nearer(tmp_path, monkeypatch):
    model, inputs = outliers()
    ordinary = inputs[np.arange(128) % 16 > 0]
    path, options = tmp_path / "int8.tflite", {"quantization": "int8", "calibration": inputs[:64], "overwrite": True}
    narrow = export.agreement(export.to_tflite(model, path, **options), model, ordinary).snr
    monkeypatch.setattr(convert, "narrowed", lambda calibrated, examples: calibrated)
    assert narrow > export.agreement(export.to_tflite(model, path, **options), model, ordinary).snr + 1


def test_what_becomes_probabilities_keeps_its_range(tmp_path, monkeypatch):
    """Logits with one far out: the probability that it makes is the file's answer."""
    keras.utils.set_random_seed(0)
    image = keras.Input((4,))
    logits = layers.Dense(4, name="logits", kernel_initializer="identity")(image)
    model = keras.Model(image, layers.Softmax()(logits))
    inputs = np.random.default_rng(0).normal(0, 1, (200, 4)).astype("float32")
    inputs[0, 2] = 30
    options = {"quantization": "int8", "calibration": inputs, "overwrite": True}
    narrow = export.to_tflite(model, tmp_path / "int8.tflite", **options).read_bytes()
    monkeypatch.setattr(convert, "narrowed", lambda calibrated, examples: calibrated)
    assert narrow == export.to_tflite(model, tmp_path / "int8.tflite", **options).read_bytes()
