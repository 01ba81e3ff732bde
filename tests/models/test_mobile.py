"""MobileNet v1 and v2, ShuffleNet v1 and v2: their multipliers, and what makes them fit for phones."""

import keras
import numpy as np
import pytest
from keras.layers import Conv2D, Dense, DepthwiseConv2D, Multiply, ReLU

from keras_inception import InputError, MobileNet, MobileNetV1, MobileNetV2, ShuffleNetV1, ShuffleNetV2
from keras_inception.layers import MapLike, shuffle
from keras_inception.models import shufflenet_v2
from keras_inception.registry import get

BUILDERS = [MobileNetV1, MobileNetV2, ShuffleNetV1, ShuffleNetV2]

ROWS = [  # builder, arguments, trainable parameters, multiply-adds at 224 x 224
    (MobileNetV1, {"alpha": 0.25}, 470_072, 41_030_272),
    (MobileNetV1, {"alpha": 0.5}, 1_331_592, 149_497_088),
    (MobileNetV1, {"alpha": 0.75}, 2_585_560, 325_400_448),
    (MobileNetV2, {"alpha": 0.35}, 1_677_128, 59_285_808),
    (MobileNetV2, {"alpha": 0.5}, 1_968_680, 97_131_840),
    (MobileNetV2, {"alpha": 0.75}, 2_636_424, 209_069_792),
    (MobileNetV2, {"alpha": 1.3}, 5_386_792, 509_374_560),
    (MobileNetV2, {"alpha": 1.4}, 6_108_776, 582_195_824),
    (ShuffleNetV1, {"scale": 0.25, "groups": 1}, 209_746, 11_003_184),
    (ShuffleNetV1, {"scale": 0.5, "groups": 1}, 534_484, 38_517_408),
    (ShuffleNetV1, {"scale": 1.0, "groups": 1}, 1_531_936, 143_078_976),
    (ShuffleNetV1, {"scale": 1.5, "groups": 1}, 2_993_356, 313_684_704),
    (ShuffleNetV1, {"scale": 1.0, "groups": 2}, 1_733_848, 140_836_512),
    (ShuffleNetV1, {"scale": 0.25, "groups": 3}, 305_902, 11_009_808),
    (ShuffleNetV1, {"scale": 0.5, "groups": 3}, 718_324, 37_589_856),
    (ShuffleNetV1, {"scale": 1.5, "groups": 3}, 3_442_168, 292_443_552),
    (ShuffleNetV1, {"scale": 2.0, "groups": 3}, 5_450_776, 524_045_184),
    (ShuffleNetV1, {"scale": 1.0, "groups": 4}, 1_968_344, 134_339_776),
    (ShuffleNetV1, {"scale": 0.5, "groups": 8}, 1_011_448, 40_469_760),
    (ShuffleNetV1, {"scale": 1.0, "groups": 8}, 2_434_768, 138_365_952),
    (ShuffleNetV1, {"scale": 1.5, "groups": 8}, 4_269_952, 290_188_800),
    (ShuffleNetV1, {"scale": 2.0, "groups": 8}, 6_522_232, 521_942_016),
    (ShuffleNetV2, {"scale": 0.5}, 1_366_792, 40_476_448),
    (ShuffleNetV2, {"scale": 1.5}, 3_503_624, 295_759_392),
    (ShuffleNetV2, {"scale": 2.0}, 7_393_996, 583_253_464),
]
FAST = (0, 3, 8, 18, 22)  # one of each way to count; the others only repeat it


@pytest.mark.parametrize(
    ("builder", "kwargs", "parameters", "macs"),
    [
        pytest.param(*row, id=f"{row[0].__name__}-{row[1]}", marks=[] if i in FAST else [pytest.mark.slow])
        for i, row in enumerate(ROWS)
    ],
)
def test_every_width_has_its_published_cost(builder, kwargs, parameters, macs) -> None:
    model = builder(**kwargs)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == parameters
    assert sum(map(multiply_adds, model.layers)) == macs


@pytest.mark.parametrize(("kwargs", "largest"), [({}, 6), ({"activation": "relu"}, None)])
def test_mobilenet_v1_is_rectified_as_the_release_or_as_the_paper(kwargs: dict, largest: float | None) -> None:
    model = MobileNetV1(alpha=0.25, input_shape=(32, 32, 3), **kwargs)
    assert {layer.max_value for layer in model.layers if isinstance(layer, ReLU)} == {largest}


def multiply_adds(layer: keras.layers.Layer) -> int:
    if not isinstance(layer, Conv2D | DepthwiseConv2D | Dense):
        return 0
    return int(np.prod(layer.output.shape[1:-1]) * np.prod(layer.kernel.shape))


# ------------------------------------------------------------------------------------------------------- multipliers


@pytest.mark.parametrize(
    ("builder", "kwargs"),
    [
        (MobileNetV1, {"alpha": 0.1}),
        (MobileNetV2, {"alpha": 1.15}),
        (ShuffleNetV1, {"scale": 0.71, "groups": 1}),
        (ShuffleNetV1, {"scale": 1 / 3, "groups": 8}),
        (ShuffleNetV2, {"scale": 0.8}),
    ],
)
def test_widths_between_the_published_ones_build(builder, kwargs) -> None:
    model = builder(include_top=False, input_shape=(32, 32, 3), **kwargs)
    assert np.isfinite(model(np.ones((1, 32, 32, 3), np.float32))).all()


def test_channels_that_do_not_divide_are_refused_with_the_nearest_that_do() -> None:
    message = "scale=0.5 gives 34 channels, which do not divide into groups=4; the nearest scales that do: 0.353, 0.647"
    with pytest.raises(InputError, match=message):
        ShuffleNetV1(scale=0.5, groups=4)


def test_shufflenet_v2_widths_grow_with_the_scale() -> None:
    widths = [shufflenet_v2.widths(scale / 100) for scale in range(50, 201)]
    assert widths == sorted(widths)
    assert all(stage2 % 4 == 0 for stage2, _ in widths)
    assert [shufflenet_v2.widths(s) for s in shufflenet_v2.CHANNELS] == list(shufflenet_v2.CHANNELS.values())


# ----------------------------------------------------------------------------------------------- shuffling, splitting


@pytest.mark.parametrize("size", [(4, 6), (None, None), (4, None)])
def test_shuffle_and_split_deal_channels(size: tuple[int | None, int | None]) -> None:
    inputs = keras.Input((*size, 12))
    halves = shufflenet_v2.split(inputs, name="split")
    model = keras.Model(inputs, [shuffle(inputs, 3, name="shuffle"), *halves])
    assert all(layer.output.shape[1:3] == size for layer in model.layers if layer.name in ("shuffle", "split_left"))

    x = np.random.default_rng(0).normal(size=(2, 4, 6, 12)).astype("float32")
    shuffled, left, right = (y.numpy() for y in model(x))
    np.testing.assert_array_equal(shuffled, x.reshape(2, 4, 6, 3, 4).swapaxes(-1, -2).reshape(x.shape))
    np.testing.assert_array_equal(left, x[..., :6])
    np.testing.assert_array_equal(right, x[..., 6:])


@pytest.mark.parametrize("builder", [ShuffleNetV1, ShuffleNetV2])
def test_unknown_image_size_gives_the_same_network(builder, tmp_path) -> None:
    kwargs = {"scale": 0.5, "include_top": False, "pooling": "avg"}
    known, free = builder(**kwargs, input_shape=(64, 32, 3)), builder(**kwargs)
    assert [w.path for w in known.weights] == [w.path for w in free.weights]
    assert not any(isinstance(layer, MapLike) for layer in known.layers)
    free.set_weights(known.get_weights())
    free.save(tmp_path / "free.keras")
    free = keras.models.load_model(tmp_path / "free.keras")

    x = np.random.default_rng(0).normal(size=(2, 64, 32, 3)).astype("float32")
    np.testing.assert_allclose(free(x), known(x), atol=1e-5)


def test_shufflenet_v2_stays_on_a_phones_gpu() -> None:
    for layer in ShuffleNetV2(scale=0.5, input_shape=(64, 64, 3)).layers:
        assert type(layer).__module__.startswith("keras."), f"{layer.name} is no layer that TFMOT knows"
        assert len(layer.output.shape) <= 4


# --------------------------------------------------------------------------------------------- squeeze and excitation


@pytest.mark.parametrize(
    ("builder", "modules", "before"),
    [
        (MobileNetV1, 13, {"DepthwiseConv2D", "ZeroPadding2D"}),  # after each separable convolution
        (MobileNetV2, 17, {"Conv2D"}),  # on the expanded map, before the projection
        (ShuffleNetV1, 16, {"Add", "Concatenate"}),  # on the path
        (ShuffleNetV2, 16, {"Concatenate"}),
    ],
)
def test_squeeze_excite_stands_where_it_should(builder, modules, before) -> None:
    model = builder(se_ratio=16, include_top=False)
    gates = [layer for layer in model.layers if isinstance(layer, Multiply)]
    assert len(gates) == modules
    users = {
        type(layer).__name__
        for layer in model.layers
        for gate in gates
        if any(x is gate.output for x in keras.tree.flatten(layer.input))
    }
    assert users <= before


def test_squeeze_excite_has_its_papers_size() -> None:
    """Hu et al., 2018: MobileNet grows from 4.2 M to 4.7 M parameters, ShuffleNet (g = 3) from 1.8 M to 2.4 M."""
    sizes = [sum(int(np.prod(w.shape)) for w in b(se_ratio=16).trainable_weights) for b in (MobileNetV1, ShuffleNetV1)]
    assert [size // 100_000 for size in sizes] == [47, 24]


def test_mobilenet_is_mobilenet_v1() -> None:
    assert MobileNet is MobileNetV1
    assert get("MobileNet").name == "mobilenet_v1"
