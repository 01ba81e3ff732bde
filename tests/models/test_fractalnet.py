"""FractalNet: its structure, the two kinds of drop-path, and columns as networks of their own."""

import functools
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.layers import BatchNormalization, Conv2D, Dropout

from keras_inception import InputError, LeNet5
from keras_inception.analysis.cost import blueprint
from keras_inception.layers import pooled_head
from keras_inception.models.fractalnet import ColumnChoice, FractalJoin, backbone, extract_column
from keras_inception.registry import get

DRAWS = 4000
SLACK = 0.03  # more than four standard deviations of a frequency over that many draws


def small(drop_path: float = 0.15, global_drop_path: float = 0.5) -> keras.Model:
    """Two narrow blocks of three columns, with random moving statistics."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3), name="images")
    x = backbone(images, filters=(4, 6), columns=3, small=True, drop_path=drop_path, global_drop_path=global_drop_path)
    model = keras.Model(images, pooled_head(x, 7), name="small")
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.weights])
            layer.trainable = False  # it then normalises by its moving statistics in training too
    return model


@functools.cache
def plan(name: str) -> keras.Model:
    """A network with its default arguments, without weights."""
    return blueprint(get(name).build)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, 8, 8, 3)).astype("float32")


def draws(function: Callable[[], tf.Tensor], count: int = DRAWS) -> np.ndarray:
    """The results of that many calls of a random function."""
    signature = tf.TensorSpec(function().shape, tf.float32)
    return tf.function(
        lambda: tf.map_fn(lambda _: function(), tf.range(count), fn_output_signature=signature)
    )().numpy()


# ---------------------------------------------------------------------------------------------------------- structure


@pytest.mark.parametrize(("name", "blocks", "columns"), [("fractalnet20", 5, 3), ("fractalnet34", 4, 4)])
def test_a_block_is_the_papers_figure(name: str, blocks: int, columns: int) -> None:
    model = plan(name)
    for block in range(1, blocks + 1):
        for column in range(1, columns + 1):
            prefix = f"block{block}_column{column}_"
            assert sum(x.name.startswith(prefix) and isinstance(x, Conv2D) for x in model.layers) == 2 ** (column - 1)
        joins = [x for x in model.layers if isinstance(x, FractalJoin) and x.name.startswith(f"block{block}")]
        sizes = {3: [2, 3], 4: [2, 3, 2, 4]}[columns]  # columns that end in each, and one input more
        assert [len(join.input) - 1 for join in joins] == sizes
        assert joins[-1].name == f"block{block}"


@pytest.mark.parametrize(
    ("name", "columns", "depth"), [("fractalnet20", 3, 20), ("fractalnet40", 4, 40), ("fractalnet34", 4, 34)]
)
def test_depth_is_the_deepest_columns(name: str, columns: int, depth: int) -> None:
    """The names count as the paper does: convolutions for CIFAR, the stem and the classifier too for ImageNet."""
    convolutions = [x.name for x in plan(name).layers if isinstance(x, Conv2D)]
    deepest = sum(f"_column{columns}_" in x for x in convolutions)
    assert deepest + ("stem_conv" in convolutions) * 2 == depth


def test_dropout_rises_from_block_to_block() -> None:
    model = plan("fractalnet20")
    rates = {layer.name.split("_")[0]: layer.rate for layer in model.layers if isinstance(layer, Dropout)}
    assert rates == pytest.approx({"block2": 0.1, "block3": 0.2, "block4": 0.3, "block5": 0.4})


# ---------------------------------------------------------------------------------------------------- local drop-path


@pytest.mark.parametrize(("rate", "columns"), [(0.15, 3), (0.15, 2), (0.9, 3)])
def test_local_drop_path(rate: float, columns: int) -> None:
    """Each column is dropped with probability `rate`, but never all: that chance is shared among them."""
    join = FractalJoin(rate, seed=0)
    ends = [tf.one_hot([[[i]]], columns) for i in range(columns)]  # channel i of the mean is column i's share
    none_chosen = tf.zeros(4)
    shares = draws(lambda: join([none_chosen, *ends], training=True)[0, 0, 0])
    live = shares > 0
    assert live.any(1).all()
    np.testing.assert_allclose(shares, live / live.sum(1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(live.mean(0), 1 - rate + rate**columns / columns, atol=SLACK)
    all_alone = rate ** (columns - 1) * (1 - rate) * columns + rate**columns
    assert (live.sum(1) == 1).mean() == pytest.approx(all_alone, abs=SLACK)
    # The expected output is the test-time output, the plain mean.
    np.testing.assert_allclose(shares.mean(0), join([none_chosen, *ends])[0, 0, 0], atol=SLACK)


def test_a_mini_batch_shares_one_subnetwork() -> None:
    join = FractalJoin(0.5, seed=0)
    ends = [tf.ones((5, 2, 2, 1)) * i for i in (1.0, 2.0, 4.0)]
    outputs = draws(lambda: join([tf.zeros(3), *ends], training=True), 20)
    assert len(np.unique(outputs)) > 1
    assert (outputs == outputs[:, :1, :1, :1]).all()


# --------------------------------------------------------------------------------------------------- global drop-path


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_choice_of_a_column(share: float) -> None:
    choice = ColumnChoice(4, share, seed=0)
    images = tf.zeros((2, 1, 1, 1))
    chosen = draws(lambda: choice(images, training=True))
    assert set(chosen.sum(1)) <= {0.0, 1.0}
    np.testing.assert_allclose(chosen.mean(0), share / 4, atol=SLACK)
    assert not choice(images).numpy().any()


def test_chosen_column_lives_alone_and_a_join_off_its_path_drops_locally() -> None:
    join = FractalJoin(0.15, seed=0)
    ends = [tf.one_hot([[[i]]], 2) for i in range(2)]

    def shares(column: int) -> np.ndarray:
        return draws(lambda: join([tf.one_hot(column, 3), *ends], training=True)[0, 0, 0])

    assert (shares(0) == [1, 0]).all()
    assert (shares(1) == [0, 1]).all()
    np.testing.assert_allclose((shares(2) > 0).mean(0), 0.85 + 0.15**2 / 2, atol=SLACK)


def test_global_drop_path_is_one_column_everywhere(images: np.ndarray) -> None:
    """In training the whole network computes one of its columns, and each of them in turn."""
    model = small(global_drop_path=1.0)
    columns = [extract_column(model, k)(images).numpy() for k in (1, 2, 3)]
    outputs = draws(lambda: model(images, training=True), 300)
    same = np.array([[np.allclose(out, column, rtol=1e-5, atol=1e-6) for column in columns] for out in outputs])
    assert (same.sum(1) == 1).all()
    np.testing.assert_allclose(same.mean(0), 1 / 3, atol=0.12)


def test_half_of_the_mini_batches_are_global(images: np.ndarray) -> None:
    model = small(drop_path=0.0, global_drop_path=0.5)
    whole = model(images).numpy()  # nothing is dropped locally
    outputs = draws(lambda: model(images, training=True), 300)
    local = np.array([np.allclose(out, whole, rtol=1e-5, atol=1e-6) for out in outputs])
    assert local.mean() == pytest.approx(0.5, abs=0.12)


# ------------------------------------------------------------------------------------------- inference, save and load


def random_operations(model: keras.Model, training: bool) -> set[str]:
    concrete = tf.function(lambda x: model(x, training=training)).get_concrete_function(
        tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    )
    graph = concrete.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {node.op for node in nodes if "Random" in node.op}


def test_no_random_operation_at_inference() -> None:
    model = small()
    assert random_operations(model, training=True)
    assert not random_operations(model, training=False)


def test_saved_loaded_and_cloned(images: np.ndarray, tmp_path: Path) -> None:
    model = small(drop_path=0.25, global_drop_path=0.75)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (loaded, clone):
        np.testing.assert_allclose(other(images), model(images), rtol=1e-5)
        assert (other.get_layer("block2").rate, other.get_layer("column_choice").share) == (0.25, 0.75)
    np.testing.assert_allclose(extract_column(loaded)(images), extract_column(model)(images), rtol=1e-5)


# ------------------------------------------------------------------------------------------------------------ columns


def test_the_deepest_column_is_a_plain_network(images: np.ndarray) -> None:
    model = small()
    before = model(images).numpy()
    column = extract_column(model)
    assert column.name == "small_column3"
    assert not any(isinstance(layer, ColumnChoice | FractalJoin) for layer in column.layers)
    assert all(len(layer._inbound_nodes[0].input_tensors) <= 1 for layer in column.layers)
    assert [len(layer.get_weights()) for layer in column.layers if isinstance(layer, Conv2D)] == [1] * 8
    np.testing.assert_array_equal(column.get_layer("logits").kernel, model.get_layer("logits").kernel)
    for weight in column.weights:  # copies: what happens to the column does not happen to the network
        weight.assign(weight * 0)
    np.testing.assert_array_equal(model(images), before)


def test_what_has_no_such_column_is_refused() -> None:
    model = small()
    for column in (0, 4, "deepest"):
        with pytest.raises(InputError, match=r"columns 1 .* to 3; got"):
            extract_column(model, column)
    with pytest.raises(InputError, match="takes a FractalNet; got 'lenet5'"):
        extract_column(LeNet5())
