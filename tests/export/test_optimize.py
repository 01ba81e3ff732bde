"""Optimised networks against those that they come from, layer by layer where both have one of the same name."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

from keras_inception import InputError, create_model
from keras_inception.analysis.cost import total
from keras_inception.export import optimize
from keras_inception.export.optimize import (
    INTEGER_RULES,
    OPENVINO_RULES,
    RULES,
    TFLITE_RULES,
    TRAINING_RULES,
    Report,
    rewrite,
)
from keras_inception.layers import DropPath, LocalResponseNormalization
from keras_inception.model_graph import times_called

from ..conformance.networks import EVERY, smallest_shape


def scrambled(model):
    """Statistics as training leaves them: folding those that a network starts with would prove nothing."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            scrambled(layer)
        elif isinstance(layer, layers.BatchNormalization):
            shape = layer.moving_mean.shape
            affine = [rng.uniform(0.5, 1.5, shape)] * layer.scale + [rng.normal(0, 0.3, shape)] * layer.center
            layer.set_weights([*affine, rng.normal(0, 0.3, shape), rng.uniform(0.5, 1.5, shape)])
        elif getattr(layer, "bias", None) is not None and hasattr(layer.bias, "assign"):
            layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
    return model


def images(model, count=2):
    return np.random.default_rng(1).normal(size=(count, *model.input_shape[1:])).astype("float32")


def check(model, *, rules=RULES, tolerance=1e-4):
    """Optimise, and compare the outputs and whatever kept its name; the given network must not have changed."""
    scrambled(model)
    before, config = model.get_weights(), model.get_config()
    optimized, report = rewrite(model, rules)
    assert model.get_config() == config
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    once = {layer.name for layer in model.layers if times_called(layer) == 1}
    names = [layer.name for layer in optimized.layers if layer.name in once]
    assert names
    x = images(model)
    outputs = [
        keras.Model(m.input, [m.outputs, [m.get_layer(name).output for name in names]])(x, training=False)
        for m in (model, optimized)
    ]
    for want, got in zip(*map(keras.tree.flatten, outputs), strict=True):
        want, got = np.asarray(want), np.asarray(got)
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * max(1, want.std()))
    return optimized, report


def count(model, kind):
    return sum(type(layer) is kind for layer in model.layers)


def chain(*words, shape=(9, 9, 6)):
    x = image = keras.Input(shape)
    for word in words:
        x = word(x)
    return keras.Model(image, x)


# ------------------------------------------------------------------------------------------------------------- folding

CONVOLUTIONS = {
    "plain": lambda **k: layers.Conv2D(8, 3, padding="same", **k),
    "strided": lambda **k: layers.Conv2D(8, 3, strides=2, padding="valid", **k),
    "grouped": lambda **k: layers.Conv2D(8, 3, groups=2, padding="same", **k),
    "dilated": lambda **k: layers.Conv2D(8, 3, dilation_rate=2, padding="same", **k),
    "depthwise": lambda **k: layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", **k),
    "separable": lambda **k: layers.SeparableConv2D(8, 3, depth_multiplier=2, padding="same", **k),
    "transposed": lambda **k: layers.Conv2DTranspose(8, 3, strides=2, padding="same", **k),
    "dense": lambda **k: layers.Dense(8, **k),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_norm_folds_into_the_layer_before(kind, bias):
    norm = layers.BatchNormalization(scale=bias, center=not bias, name="normed")
    optimized, report = check(chain(CONVOLUTIONS[kind](use_bias=bias), norm, layers.ReLU()), tolerance=1e-5)
    assert count(optimized, layers.BatchNormalization) == 0
    assert optimized.get_layer("normed").use_bias  # it took the norm's place, and name
    assert report.applied == {"norm or scale folded into the layer before": ("normed",)}


@pytest.mark.parametrize(
    "scale",
    [
        layers.Rescaling(0.17),
        layers.Rescaling([0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0]),
        layers.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 4.0, 9.0, 0.0]),
    ],
)
def test_scales_fold_like_norms(scale):
    again = type(scale).from_config(scale.get_config())
    optimized, _ = check(chain(layers.Conv2D(4, 1, use_bias=False), scale))
    assert len(optimized.layers) == 2
    # An activation is in the way of the first convolution, none of the second.
    optimized, _ = check(chain(layers.Conv2D(4, 1), layers.ReLU(), again, layers.Conv2D(3, 3)))
    assert count(optimized, type(scale)) == 0


def test_without_a_shift_there_is_a_bias_all_the_same():
    """TensorFlow fuses an activation into a convolution with a bias, and into no other."""
    optimized, _ = check(chain(layers.Conv2D(4, 1, use_bias=False), layers.Rescaling(0.1), layers.ReLU()))
    assert optimized.layers[1].use_bias


@pytest.mark.parametrize("kind", [kind for kind in CONVOLUTIONS if kind != "transposed"])
def test_norm_folds_into_the_layer_after(kind):
    after = CONVOLUTIONS[kind](activation="relu")
    if kind != "dense":
        after.padding = "valid"
    optimized, report = check(chain(layers.ReLU(), layers.BatchNormalization(name="norm"), after))
    assert [type(layer) for layer in optimized.layers[1:]] == [layers.ReLU, type(after)]
    assert report.applied == {"norm or scale folded into the layer after": (after.name,)}


def test_zeros_of_padding_know_no_shift():
    """A map that is shifted before it is padded differs at the border; one that is only scaled does not."""
    shifted = chain(layers.BatchNormalization(), layers.Conv2D(4, 3, padding="same"))
    assert count(check(shifted)[0], layers.BatchNormalization) == 1
    scaled = chain(layers.Rescaling(0.3), layers.Conv2D(4, 3, padding="same"))
    assert count(check(scaled)[0], layers.Rescaling) == 0
    padded = chain(layers.BatchNormalization(), layers.ZeroPadding2D(1), layers.Conv2D(4, 3))
    assert count(check(padded)[0], layers.BatchNormalization) == 1


def two_readers():
    x = layers.Conv2D(4, 3)(image := keras.Input((9, 9, 6)))
    return keras.Model(image, layers.Concatenate()([layers.ReLU()(x), layers.BatchNormalization()(x)]))


def two_norms_of_one_layer():
    norm, image = layers.BatchNormalization(), keras.Input((9, 9, 6))
    return keras.Model(image, layers.Add()([norm(layers.Conv2D(4, 3)(image)), norm(layers.Conv2D(4, 3)(image))]))


def one_convolution_twice():
    conv, image = layers.Conv2D(6, 3, padding="same"), keras.Input((9, 9, 6))
    return keras.Model(image, layers.BatchNormalization()(conv(layers.ReLU()(conv(image)))))


def an_output_of_its_own():
    x = layers.Conv2D(4, 3)(image := keras.Input((9, 9, 6)))
    return keras.Model(image, [x, layers.BatchNormalization()(x)])


class OwnConv(layers.Conv2D):
    def call(self, x):
        return ops.relu(super().call(x))


@pytest.mark.parametrize(
    "build",
    [
        two_readers,
        two_norms_of_one_layer,
        one_convolution_twice,
        an_output_of_its_own,
        lambda: chain(layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization()),
        lambda: chain(layers.Conv2D(4, 3), layers.BatchNormalization(axis=1)),
        lambda: chain(OwnConv(4, 3), layers.BatchNormalization()),
        lambda: chain(layers.BatchNormalization(), layers.Conv2DTranspose(4, 3)),
        lambda: chain(layers.MaxPooling2D(), layers.BatchNormalization(), layers.ReLU()),
    ],
)
def test_what_cannot_fold_stays(build):
    model = build()
    optimized, report = check(model)
    assert [type(layer) for layer in optimized.layers] == [type(layer) for layer in model.layers]
    assert not report.applied


def test_training_behaviour_that_was_asked_for_stays():
    """`Dropout()(x, training=True)` is how uncertainty is sampled; a norm called so uses the batch's statistics."""
    x = layers.Conv2D(4, 3)(image := keras.Input((9, 9, 6)))
    x = layers.BatchNormalization()(x, training=True)
    model = keras.Model(image, layers.Dropout(0.5)(x, training=True) * 1.0)
    optimized, report = rewrite(model)
    assert not report.applied
    x = images(model, 8)
    assert np.mean(np.asarray(optimized(x)) == 0) == pytest.approx(0.5, abs=0.1)


# -------------------------------------------------------------------------------------------------- pools and paddings


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_average_pool_moves_after_a_projection(padding):
    pool = layers.AveragePooling2D(3, 1, padding)
    conv, norm = layers.Conv2D(4, 1, use_bias=False), layers.BatchNormalization(name="normed")
    optimized, report = check(chain(pool, conv, norm, layers.ReLU(name="out")))
    kinds = [layers.InputLayer, layers.Conv2D, layers.AveragePooling2D, layers.ReLU]
    assert [type(layer) for layer in optimized.layers] == kinds
    assert "normed" in report.applied["average pool moved after a projection"]
    # A nonlinearity of the convolution's own stays last.
    optimized, _ = check(chain(layers.AveragePooling2D(3, 1, padding), layers.Conv2D(4, 1, activation="relu")))
    assert [type(layer) for layer in optimized.layers] == [*kinds[:3], layers.Activation]


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_average_pool_with_strides_moves_before_a_projection(padding):
    model = chain(layers.Conv2D(4, 1), layers.AveragePooling2D(2, 2, padding, name="pooled"))
    optimized, report = check(model)
    kinds = [layers.InputLayer, layers.AveragePooling2D, layers.Conv2D]
    assert [type(layer) for layer in optimized.layers] == kinds
    assert report.macs == (9 * 9 * 24, 24 * (25 if padding == "same" else 16)) == (total(model).macs, report.macs[1])


@pytest.mark.parametrize(
    "words",
    [
        (layers.AveragePooling2D(3, 1), layers.Conv2D(6, 1)),  # as many channels
        (layers.AveragePooling2D(3, 1), layers.Conv2D(4, 3)),
        (layers.AveragePooling2D(3, 1), layers.Conv2D(4, 1, strides=2)),
        (layers.MaxPooling2D(3, 1), layers.Conv2D(4, 1)),
        (layers.AveragePooling2D(2), layers.Conv2D(4, 1)),
        (layers.Conv2D(4, 1, activation="relu"), layers.AveragePooling2D(2)),
        (layers.Conv2D(4, 1), layers.MaxPooling2D(2)),
    ],
)
def test_pools_that_stay_where_they_are(words):
    model = chain(*(type(word).from_config(word.get_config()) for word in words))
    optimized, report = check(model)
    assert [layer.name for layer in optimized.layers] == [layer.name for layer in model.layers]
    assert not report.applied


@pytest.mark.parametrize("size", [8, 9, None])
@pytest.mark.parametrize(("zeros", "stride", "taken"), [
    (((1, 1), (1, 1)), 1, {8, 9, None}),
    (((0, 1), (0, 1)), 2, {8}),
    (((1, 1), (1, 1)), 2, {9}),
    (((0, 2), (0, 2)), 2, {8}),  # the second zero is out of reach
    (((1, 0), (1, 0)), 2, set()),
    (((2, 2), (2, 2)), 1, set()),
])  # fmt: skip
def test_padding_that_same_means_too(size, zeros, stride, taken):
    conv = layers.Conv2D(4, 3, strides=stride)
    model = scrambled(chain(layers.ZeroPadding2D(zeros), conv, shape=(size, size, 6)))
    optimized = optimize(model)
    assert count(optimized, layers.ZeroPadding2D) == (size not in taken)
    for side in [size] if size else [8, 9]:
        x = np.random.default_rng(0).normal(size=(1, side, side, 6)).astype("float32")
        np.testing.assert_allclose(optimized(x), model(x), atol=1e-5)


@pytest.mark.parametrize("rectified", [True, False])
def test_zeros_before_a_max_pool_count(rectified):
    """Its own padding loses to any value, zeros only to positive ones."""
    before = layers.ReLU() if rectified else layers.Conv2D(6, 1)
    model = chain(before, layers.ZeroPadding2D(((0, 1), (0, 1))), layers.MaxPooling2D(3, 2), shape=(8, 8, 6))
    assert count(check(model)[0], layers.ZeroPadding2D) == (not rectified)


# ---------------------------------------------------------------------------------------------------- for .tflite files


@pytest.mark.parametrize("size", [8, 9])
def test_average_pool_over_zeros_as_convolution(size):
    """The zeros count; where they lie as "same" puts them, the convolution has them."""
    pool = layers.AveragePooling2D(3, 2, name="pool")
    model = chain(layers.ZeroPadding2D(1), pool, shape=(size, size, 6))
    optimized, report = check(model, rules=TFLITE_RULES, tolerance=1e-6)
    assert report.applied["padded average pool as convolution"] == ("pool",)
    assert count(optimized, layers.AveragePooling2D) == 0
    assert count(optimized, layers.ZeroPadding2D) == (size == 8)
    assert not rewrite(chain(layers.AveragePooling2D(3, 2, "same"), shape=(8, 8, 6)), TFLITE_RULES)[1].applied


@pytest.mark.parametrize("options", [
    {"kernel_size": 1}, {"kernel_size": 3, "padding": "same", "activation": "relu"}, {"kernel_size": 3, "strides": 2},
])  # fmt: skip
def test_grouped_convolution_as_several(options):
    model = chain(layers.Conv2D(8, groups=2, name="conv", **options), shape=(8, 8, 6))
    optimized, report = check(model, rules=OPENVINO_RULES, tolerance=1e-6)
    assert report.applied == {"grouped convolution as several": ("conv",)}
    assert all(layer.groups == 1 for layer in optimized.layers if isinstance(layer, layers.Conv2D))
    assert count(optimized, layers.Conv2D) == 2
    assert not rewrite(chain(layers.Conv2D(8, 1), shape=(8, 8, 6)), OPENVINO_RULES)[1].applied


# ------------------------------------------------------------------------------------------------------ for int8 files


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("window", "stride"), [(2, 2), (3, 1), (3, 2), (5, 3)])
def test_average_pool_as_convolution(window, stride, padding, size):
    model = chain(layers.AveragePooling2D(window, stride, padding, name="pool"), shape=(size, size, 6))
    optimized, report = check(model, rules=INTEGER_RULES, tolerance=1e-6)
    assert report.applied == {"average pool as convolution": ("pool",)}
    assert count(optimized, layers.AveragePooling2D) == 0
    free = chain(layers.AveragePooling2D(window, stride, padding), shape=(None, None, 6))
    assert not rewrite(free, INTEGER_RULES)[1].applied  # how much a window has of the map depends on its size


@pytest.mark.parametrize("stride", [2, (3, 1)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_stride_of_a_1x1_convolution_before_it(stride, padding):
    model = chain(layers.Conv2D(4, 1, stride, padding, activation="relu", name="conv"), shape=(9, 8, 6))
    optimized, report = check(model, rules=INTEGER_RULES, tolerance=1e-6)
    assert report.applied == {"stride of a 1x1 convolution before it": ("conv",)}
    assert optimized.get_layer("conv").strides == (1, 1)
    assert not rewrite(chain(layers.Conv2D(4, 3, 2), layers.Conv2D(4, 1), shape=(9, 9, 6)), INTEGER_RULES)[1].applied


@pytest.mark.parametrize(("shape", "applied"), [((1, 1, 6), True), ((1, 1, 5), False), ((1, 2, 6), False)])
def test_sum_of_maps_of_one_position(shape, applied):
    first, second = keras.Input(shape), keras.Input(shape)
    model = keras.Model([first, second], layers.Add(name="sum")([first, second]))
    optimized, report = rewrite(model, INTEGER_RULES)
    assert report.applied == ({"sum of maps of one position as of two": ("sum",)} if applied else {})
    maps = [np.random.default_rng(seed).normal(size=(3, *shape)).astype(np.float32) for seed in (0, 1)]
    np.testing.assert_array_equal(optimized(maps), maps[0] + maps[1])


@pytest.mark.parametrize("layer", [
    lambda: layers.BatchNormalization(name="norm"),
    lambda: layers.Rescaling(0.1, 2.0, name="norm"),
    lambda: layers.Normalization(mean=[1.0] * 6, variance=[4.0] * 6, name="norm"),
])  # fmt: skip
def test_lone_norm_as_convolution(layer):
    optimized, report = check(chain(layers.ReLU(), layer(), layers.ReLU()), rules=INTEGER_RULES, tolerance=1e-6)
    assert report.applied == {"norm or scale as convolution": ("norm",)}
    kinds = [layers.InputLayer, layers.ReLU, layers.DepthwiseConv2D, layers.ReLU]
    assert [type(layer) for layer in optimized.layers] == kinds
    flat = chain(layers.Flatten(), layers.BatchNormalization())
    assert not rewrite(flat, INTEGER_RULES)[1].applied


# ------------------------------------------------------------------------------------------------- what training needs


def test_what_acts_in_training_only_goes():
    words = [layers.Dropout(0.5), DropPath(0.5), layers.GaussianNoise(1.0), layers.Activation("linear")]
    optimized, report = check(chain(*words, layers.Conv2D(4, 3), layers.SpatialDropout2D(0.2), layers.ReLU()))
    assert len(optimized.layers) == 3
    assert sum(map(len, report.applied.values())) == 5


def test_an_output_keeps_its_name():
    optimized, _ = check(chain(layers.Conv2D(4, 3), layers.Activation("linear", name="predictions")))
    assert optimized.layers[-1].name == "predictions"


@pytest.mark.parametrize(("others", "kept"), [(["aux_1", "aux_2"], 1), (["exit_1"], 2), (["aux_1", "features"], 3)])
def test_auxiliary_heads_go_and_exits_stay(others, kept):
    image = keras.Input((9, 9, 6))
    x = layers.Conv2D(4, 3)(image)
    outputs = {name: layers.Dense(5, name=name)(x) for name in ["predictions", *others]}
    optimized, report = rewrite(keras.Model(image, outputs))
    assert len(optimized.outputs) == kept
    assert report.applied.get("auxiliary head dropped", ()) == (tuple(others) if kept == 1 else ())


# ------------------------------------------------------------------------------------------------------------- the rest


@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0])
def test_local_response_norm(beta, tmp_path):
    for size in (4, 5):
        model = chain(LocalResponseNormalization(size, alpha=0.3, beta=beta, bias=1.5, name="norm"))
        optimized, _ = check(model, tolerance=1e-6)
        assert count(optimized, LocalResponseNormalization) == 0
        assert {operation.name for operation in optimized.operations} > {"norm_square", "norm_log", "norm_exp", "norm"}
    optimized.save(tmp_path / "lrn.keras")
    loaded = keras.models.load_model(tmp_path / "lrn.keras")
    np.testing.assert_array_equal(loaded(images(model)), optimized(images(model)))


def test_models_within_models_are_opened():
    inner = chain(layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization(name="norm"))
    branch = keras.Sequential([layers.Input((7, 7, 4)), layers.Dense(4), layers.BatchNormalization()], name="branch")
    image = keras.Input((9, 9, 6))
    x = inner(layers.Conv2D(6, 1, name="conv")(image))
    optimized, report = check(keras.Model(image, layers.Add()([branch(x), x])))
    assert not any(isinstance(layer, keras.Model) for layer in optimized.layers)
    assert count(optimized, layers.BatchNormalization) == 0
    assert report.layers == (5, 5)


def test_operations_and_several_tensors_are_carried_over():
    image, gate = keras.Input((9, 9, 6), name="image"), keras.Input((6,), name="gate")
    x = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same")(image))
    left, right = ops.split(x * 2.0 + 1.0, 2, axis=-1)
    y = ops.concatenate([right, left], axis=-1) * ops.reshape(gate, (-1, 1, 1, 6)) - x
    lstm, state, _ = layers.LSTM(3, return_state=True)(layers.Reshape((81, 6))(y))
    attended = layers.MultiHeadAttention(2, 3)(layers.Reshape((81, 6))(y), layers.Reshape((81, 6))(x))
    model = keras.Model({"image": image, "gate": gate}, {"y": y, "lstm": [lstm, state], "attended": attended})
    optimized = optimize(scrambled(model))
    assert count(optimized, layers.BatchNormalization) == 0
    rng = np.random.default_rng(0)
    x = {"image": rng.normal(size=(2, 9, 9, 6)), "gate": rng.normal(size=(2, 6))}
    keras.tree.map_structure(lambda got, want: np.testing.assert_allclose(got, want, atol=1e-5), optimized(x), model(x))


def test_the_scale_of_inception_resnet_becomes_layers_that_can_be_trained():
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, CustomScaleLayer(0.3)([x, layers.Conv2D(3, 1)(x)]))
    made = rewrite(model, TRAINING_RULES)[0]
    assert [type(layer).__name__ for layer in made.layers] == ["InputLayer", "Conv2D", "Rescaling", "Add"]
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(made(images), model(images), rtol=1e-6)


def test_mixed_precision_becomes_float32():
    words = [layers.Conv2D(8, 3, dtype="mixed_float16"), layers.BatchNormalization(dtype="mixed_float16")]
    model = scrambled(chain(*words))
    optimized = optimize(model)
    assert {layer.compute_dtype for layer in optimized.layers} == {"float32"}
    np.testing.assert_allclose(optimized(images(model)), model(images(model)), atol=2e-2)


def test_twice_is_once():
    optimized = optimize(scrambled(chain(CONVOLUTIONS["plain"](), layers.BatchNormalization(), layers.Dropout(0.1))))
    assert not rewrite(optimized)[1].applied


def test_report():
    _, report = rewrite(chain(layers.Conv2D(4, 3, name="c"), layers.BatchNormalization(name="n"), layers.ReLU()))
    assert report == Report(
        applied={"norm or scale folded into the layer before": ("n",)},
        layers=(4, 3),
        parameters=(236, 220),
        macs=(7 * 7 * 6 * 9 * 4,) * 2,
    )
    lines = str(report).splitlines()
    assert [re.split(r"  +", line) for line in lines] == [
        ["norm or scale folded into the layer before", "1", "n"],
        ["layers", "4", "-> 3"],
        ["parameters", "236", "-> 220"],
        ["multiply-adds", "10,584", "-> 10,584"],
    ]
    free = chain(layers.Conv2D(4, 3), shape=(None, None, 6))
    assert rewrite(free)[1].macs == (None, None)


class Mystery(layers.Layer):
    def __init__(self, table):
        super().__init__(name="mystery")
        self.table = table

    def call(self, x):
        return x


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Subclassed(name="net"), "net .Subclassed. is not a functional model"),
        (lambda: chain(Mystery(object())), "layer mystery .Mystery. cannot be copied: give the class a get_config"),
    ],
)
def test_what_cannot_be_optimized_says_so(build, says):
    with pytest.raises(InputError, match=says):
        optimize(build())


# ------------------------------------------------------------------------------------------------------ whole networks

NETWORKS = {  # name -> size, norms that stay, and a rule that must have been of use
    "inception_v3": (75, 0, "average pool moved after a projection"),
    "mobilenet_v2": (32, 0, "norm or scale folded into the layer before"),
    "densenet40_12": (8, 39, "average pool moved before a projection"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name):
    size, lone, rule = NETWORKS[name]
    model = create_model(name, input_shape=(size, size, 3), classifier_activation=None)
    optimized, report = check(model)
    assert count(optimized, layers.BatchNormalization) == lone
    assert rule in report.applied
    assert optimized.layers[-1].name == model.layers[-1].name


APPLICATIONS = [
    pytest.param(name, marks=[] if name == "MobileNetV2" else pytest.mark.slow)
    for name in ("MobileNetV2", "MobileNet", "ResNet50", "ResNet50V2", "NASNetMobile", "EfficientNetB0", "Xception",
                 "MobileNetV3Small", "InceptionV3", "DenseNet121", "ConvNeXtTiny")
]  # fmt: skip


@pytest.mark.parametrize("name", APPLICATIONS)
def test_keras_applications(name):
    build = getattr(keras.applications, name)
    optimized, report = check(build(weights=None, input_shape=(75, 75, 3), classifier_activation=None))
    assert report.layers[1] <= report.layers[0]
    assert optimized.count_params() <= report.parameters[0]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [p.values[0] for p in EVERY], ids=lambda a: a.name)
def test_every_network(architecture):
    """At the smallest size, with its early exits if it has any."""
    model = scrambled(architecture.build(input_shape=smallest_shape(architecture), classifier_activation=None))
    x = images(model)
    want = model(x, training=False)
    optimized = optimize(model)
    del model
    got = optimized(x, training=False)
    scale = max(1.0, max(float(np.std(w)) for w in keras.tree.flatten(want)))
    keras.tree.map_structure(lambda g, w: np.testing.assert_allclose(g, w, rtol=0, atol=1e-4 * scale), got, want)
    assert not any(isinstance(layer, (layers.Dropout, DropPath)) for layer in optimized.layers)
