"""Biases corrected for rounded kernels: the mean output of every layer, and the effect in a file."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from keras_inception import InputError, export
from keras_inception.export.quantization import rounding
from keras_inception.export.quantization.bias_correction import bias_corrected

SIZE = 12
INPUTS = np.random.default_rng(0).uniform(0, 1, (64, SIZE, SIZE, 3)).astype("float32")

LAYERS = {
    "plain": lambda: layers.Conv2D(8, 3, padding="same", use_bias=False),
    "strided": lambda: layers.Conv2D(8, 3, strides=2),
    "grouped": lambda: layers.Conv2D(6, 3, groups=3),
    "depthwise": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
    "separable": lambda: layers.SeparableConv2D(8, 3, depth_multiplier=2),
    "transposed": lambda: layers.Conv2DTranspose(8, 3, strides=2),
    "dense": lambda: layers.Dense(8),
}
OUTPUTS = {"depthwise": (2, 3), "dense": (1,), "transposed": (2,)}  # axes of a kernel that make outputs; else the last


def in_int8(model):
    """The network with its kernels as the converter rounds them: 255 steps of each output's own range."""
    copy = keras.models.clone_model(model)
    for kind, layer, own in zip([None, *model.kinds], copy.layers, model.layers, strict=True):
        values = own.get_weights()
        for i, kernel in enumerate(values):
            if kernel.ndim > 1:
                axes = (2, 3) if kind == "separable" and i == 0 else OUTPUTS.get(kind, (kernel.ndim - 1,))
                others = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
                step = np.abs(kernel).max(axis=others, keepdims=True) / 127
                values[i] = np.round(kernel / step) * step
        layer.set_weights(values)
    return copy


def chain(*kinds):
    keras.utils.set_random_seed(0)
    x = image = keras.Input((SIZE, SIZE, 3))
    for kind in kinds:
        x = LAYERS[kind]()(x)
    model = keras.Model(image, x)
    model.kinds = kinds
    return model


def means(model):
    outputs = np.asarray(model(INPUTS, training=False))
    return outputs.mean(axis=tuple(range(outputs.ndim - 1)))


@pytest.mark.parametrize("kind", LAYERS)
def test_rounding_no_longer_moves_the_mean(kind):
    model = chain(kind)
    before = model.get_weights()
    corrected = bias_corrected(model, np.split(INPUTS, 4))
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    corrected.kinds = model.kinds
    exact, plain, better = (means(m) for m in (model, in_int8(model), in_int8(corrected)))
    assert np.abs(plain - exact).max() > 1e-4
    np.testing.assert_allclose(better, exact, atol=2e-6)


def test_layers_that_stay_in_float_keep_their_bias():
    model = chain("plain", "strided")
    corrected = bias_corrected(model, [INPUTS], leave=[model.layers[1].name])
    first, second = ([layer.get_weights()[-1] for layer in m.layers[1:]] for m in (model, corrected))
    np.testing.assert_array_equal(corrected.layers[1].get_weights()[0], model.layers[1].get_weights()[0])
    assert not corrected.layers[1].use_bias
    assert np.abs(second[1] - first[1]).max() > 0


def test_a_file_in_int8_is_nearer(tmp_path, monkeypatch):
    """Images with a mean other than 0, as maps after a ReLU have, through kernels with some large weights."""
    model = chain("plain", "depthwise", "strided", "dense")
    rng = np.random.default_rng(0)
    for layer in model.layers[1:]:
        layer.set_weights([w * rng.choice([1, 5], w.shape, p=[0.9, 0.1]) for w in layer.get_weights()])
    held_out = INPUTS[32:]
    path, options = tmp_path / "int8.tflite", {"quantization": "int8", "calibration": INPUTS[:32], "overwrite": True}
    monkeypatch.setattr(rounding, "rounded", lambda model, inputs, leave: model)  # which corrects biases, too
    corrected = export.agreement(export.to_tflite(model, path, **options), model, held_out).snr
    monkeypatch.setattr(rounding, "bias_corrected", lambda model, inputs, leave: model)
    assert corrected > export.agreement(export.to_tflite(model, path, **options), model, held_out).snr + 1


def test_a_layer_in_float_that_a_file_names_by_its_activation_keeps_its_bias(tmp_path):
    """The operator of a convolution bears the name of the ReLU that is fused with it."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.ReLU(name="first")(layers.Conv2D(8, 3, bias_initializer="normal")(image))
    x = layers.ReLU(name="second")(layers.Conv2D(8, 3, bias_initializer="normal")(x))
    model = keras.Model(image, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    options = {"quantization": "int8", "calibration": INPUTS, "float_layers": ["first", "second"]}
    errors = export.layer_errors(export.to_tflite(model, tmp_path / "mixed.tflite", **options), model, INPUTS)
    assert {error.layer: error.snr for error in errors if error.layer in options["float_layers"]} == {
        "first": pytest.approx(200, abs=70),
        "second": pytest.approx(200, abs=70),
    }


def test_a_file_with_layers_in_float_has_the_edges_that_are_asked_for(tmp_path):
    """Before, TensorFlow's debugger made such files, always with float32 at their edges."""
    model = chain("plain", "strided")
    options = {"calibration": INPUTS, "edge": "uint8", "float_layers": [model.layers[1].name]}
    file = Interpreter(str(export.to_tflite(model, tmp_path / "mixed.tflite", quantization="int8", **options)))
    [given], [output] = file.get_input_details(), file.get_output_details()
    assert (given["dtype"], output["dtype"]) == (np.uint8, np.uint8)


def test_not_every_layer_stays_in_float(tmp_path):
    model = chain("plain", "strided")
    every = [model.layers[1].name, "StatefulPartitionedCall:0"]  # a file names an output so
    options = {"quantization": "int8", "calibration": INPUTS, "float_layers": every}
    with pytest.raises(InputError, match="names every layer of the network"):
        export.to_tflite(model, tmp_path / "float.tflite", **options)
    assert not list(tmp_path.iterdir())
