"""MSDNet: the cost of each exit, and the names of the exits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_inception import MSDNet, MSDNetCIFAR, MSDNetCIFARBudget
from keras_inception.analysis.cost import blueprint, total

# To each exit, in the authors' PyTorch code, all scales computed: millions of multiply-adds, parameters.
ANYTIME = [
    (15.0, 422_266),
    (21.7, 519_994),
    (29.5, 624_346),
    (38.3, 614_774),
    (44.8, 716_678),
    (52.1, 825_494),
    (60.4, 941_222),
    (66.4, 920_926),
    (72.3, 1_056_574),
    (78.9, 1_201_438),
    (86.1, 1_355_518),
]
BUDGET = [
    (6.8, 288_094),
    (12.0, 375_886),
    (21.7, 519_994),
    (38.3, 735_322),
    (59.9, 882_014),
    (86.8, 1_088_902),
    (110.9, 1_612_054),
]
STEP_4 = [(337.2, 4_238_504), (654.7, 5_731_496), (949.8, 6_991_784), (1173.1, 8_082_248), (1262.2, 13_322_568)]
BASE_7 = [(626.5, 4_361_384), (944.4, 9_735_592), (1261.1, 10_254_056), (1509.2, 10_587_736), (1606.2, 16_401_496)]
STEP_7 = [(612.0, 8_759_240), (1370.5, 13_603_624), (2141.7, 17_162_408), (2758.1, 20_027_272), (2993.7, 34_932_232)]

ROWS = [
    pytest.param(MSDNetCIFAR, {}, [4] + [2] * 10, ANYTIME, id="cifar"),
    pytest.param(MSDNetCIFARBudget, {}, [1, 2, 3, 4, 5, 6, 7], BUDGET, id="budget"),
    pytest.param(MSDNet, {"step": 4}, [4] * 5, STEP_4, id="step 4"),
    pytest.param(MSDNet, {"step": 4, "base": 7}, [7, 4, 4, 4, 4], BASE_7, id="base 7", marks=pytest.mark.slow),
    pytest.param(MSDNet, {"step": 7}, [7] * 5, STEP_7, id="step 7", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("builder", "kwargs", "steps", "costs"), ROWS)
def test_cost_of_each_exit(builder, kwargs, steps, costs) -> None:
    model = blueprint(builder, **kwargs)
    names = [f"exit_{i}" for i in range(1, len(steps))] + ["predictions"]
    for name, layer, (millions, parameters) in zip(names, np.cumsum(steps), costs, strict=True):
        maps = [x.output for x in model.layers if x.name.startswith((f"layer_{layer}_", f"transition_{layer}_"))]
        everything = total(keras.Model(model.input, [model.output[name], *maps]))
        assert (round(everything.macs / 1e6, 1), everything.trainable) == (millions, parameters), name
        needed = total(keras.Model(model.input, model.output[name]))  # the paper's lazy evaluation
        assert needed.macs <= everything.macs


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return MSDNetCIFARBudget(input_shape=(32, 32, 3))


def test_exits_are_outputs_by_name_and_the_last_is_predictions(model: keras.Model) -> None:
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    outputs = model(images)
    assert set(outputs) == {"predictions", *(f"exit_{i}" for i in range(1, 7))}
    for probabilities in outputs.values():
        np.testing.assert_allclose(keras.ops.sum(probabilities, axis=-1), 1, rtol=1e-5)

    last = MSDNetCIFARBudget(exits=False)
    weights = {w.path: w for w in model.weights}
    for w in last.weights:
        w.assign(weights[w.path])
    np.testing.assert_allclose(last(images), outputs["predictions"], atol=1e-6)


def test_exits_together_train_all_weights(model: keras.Model) -> None:
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        losses = [keras.losses.sparse_categorical_crossentropy(np.arange(4), p) for p in outputs.values()]
        loss = keras.ops.sum(losses)
    gradients = tape.gradient(loss, [w.value for w in model.trainable_variables])
    assert all(gradient is not None for gradient in gradients)
    of_exits = [g for g, w in zip(gradients, model.trainable_variables, strict=True) if "_logits/kernel" in w.path]
    assert len(of_exits) == 7
    assert all(np.any(gradient) for gradient in of_exits)
