"""NASNet: the auxiliary head, drop path and its schedule."""

from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_inception import layers
from keras_inception.analysis.cost import blueprint
from keras_inception.models import nasnet
from keras_inception.registry import get

STEPS = 50


@cache
def small(rate: float, steps: int | None = None) -> keras.Model:
    """One normal cell for each stage, 24 channels."""
    inputs = keras.Input((32, 32, 3))
    arguments: dict[str, Any] = {"blocks": 1, "filters": 24, "stem": 8, "skip_reduction_input": False}
    return keras.Model(inputs, nasnet.backbone(inputs, **arguments, drop_path=rate, drop_path_steps=steps))


def drops(model: keras.Model) -> list[layers.DropPath]:
    return [layer for layer in model.layers if isinstance(layer, layers.DropPath)]


# TF-Slim's auxiliary head, by its formula: 1x1 to 128, a convolution of the whole map to 768, dense, 1,000 classes.
@pytest.mark.parametrize(
    ("name", "side", "parameters"), [("nasnet_mobile", 4, 2_411_240), ("nasnet_large", 6, 4_567_784)]
)
def test_auxiliary_head_is_the_released_one(name: str, side: int, parameters: int) -> None:
    model = blueprint(get(name).build, aux_heads=True)
    trainable = sum(np.prod(weight.shape) for weight in model.trainable_weights)
    assert trainable - get(name).parameters == parameters
    assert model.get_layer("aux_1_2_conv").kernel_size == (side, side)


def test_drop_path_grows_with_the_cells() -> None:
    model = small(0.35)
    cells = ["cell_stem_0", "cell_stem_1", "cell_0", "reduction_cell_0", "cell_1", "reduction_cell_1", "cell_2"]
    for drop in drops(model):
        cell = next(i for i, name in enumerate(cells, 1) if drop.name.startswith(name))
        assert drop.rate == pytest.approx(0.35 * cell / 7), drop.name
        assert drop.per == "sample"
    # Every operation of a cell but the identities: 8 in a normal one, 9 in a reduction.
    assert len(drops(model)) == 3 * 8 + 4 * 9
    assert not drops(small(0.0))


def test_schedule_ends_at_the_rate() -> None:
    layer = nasnet.ScheduledDropPath(0.5, STEPS)
    ones = np.ones((4000, 1, 1, 1), "float32")
    survived = [np.mean(layer(ones, training=True) > 0) for _ in range(STEPS + 2)]
    for step in (0, STEPS // 2, STEPS, STEPS + 1):
        rate = 0.5 * min(1, step / STEPS)
        deviation = np.sqrt(rate * (1 - rate) / len(ones))
        assert abs(survived[step] - (1 - rate)) <= 5 * deviation
    assert np.array_equal(layer(ones), ones)


def test_inference_neither_draws_nor_counts() -> None:
    model = small(0.3, STEPS)
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(tf.TensorSpec((1, 32, 32, 3))).graph
    assert not [op.type for op in graph.get_operations() if "Random" in op.type or "Assign" in op.type]


def test_schedule_survives_saving(tmp_path: Path) -> None:
    inputs = keras.Input((2, 2, 3))
    model = keras.Model(inputs, nasnet.ScheduledDropPath(0.3, STEPS, name="drop")(inputs))
    for _ in range(7):
        model(np.ones((1, 2, 2, 3)), training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").get_layer("drop")
    assert (loaded.rate, loaded.steps, loaded.per, float(loaded.step)) == (0.3, STEPS, "sample", 7)
    assert keras.models.clone_model(model).get_layer("drop").steps == STEPS


def test_schedule_trains_in_mixed_precision() -> None:
    layer = nasnet.ScheduledDropPath(0.5, STEPS, dtype="mixed_float16")
    assert layer(np.ones((2, 1, 1, 1), "float16"), training=True).dtype == "float16"
    assert layer.step.dtype == "float32"
