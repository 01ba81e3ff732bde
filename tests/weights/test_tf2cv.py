"""tf2cv's scopes are renamed to pytorchcv's names, without Keras' numbers and doubled containers."""

import keras
import numpy as np
import pytest
from keras.layers import Dense, Flatten

from keras_inception.weights.publishers.tf2cv import kernel, prepare

SCOPE = "res_net/features/features/stage1/stage1/unit1"


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, "float32")


@pytest.mark.parametrize(
    ("weight", "name"),
    [
        (f"features|{SCOPE}/body/conv1/conv/conv/kernel:0", "features.stage1.unit1.body.conv1.conv.kernel"),
        (f"features|{SCOPE}/body/conv1/bn/gamma:0", "features.stage1.unit1.body.conv1.bn.gamma"),
        # TensorFlow 2.3, which wrote the published files
        (
            "features|features/features/stage1/stage1/unit1/body/conv1/bn/gamma:0",
            "features.stage1.unit1.body.conv1.bn.gamma",
        ),
        (f"features|{SCOPE}/conv2/conv2/conv/conv/kernel:0", "features.stage1.unit1.conv2.conv2.conv.kernel"),
        (f"features|{SCOPE}/dw_conv/conv/dw_conv/depthwise_kernel:0", "features.stage1.unit1.dw_conv.conv.kernel"),
        (f"features|{SCOPE}/se_block_17/conv1/conv/bias:0", "features.stage1.unit1.se.conv1.bias"),
        (f"features|{SCOPE}/path/path1/conv2d_3/conv/kernel:0", "features.stage1.unit1.path.path1.kernel"),
        ("output1|vgg/output1/fc1/fc/kernel:0", "output.fc1.fc.kernel"),
        ("output1|nas_net_1/output1/output1/fc/bias:0", "output.fc.bias"),
        ("output1|res_net/output1/kernel:0", "output.kernel"),
    ],
)
def test_a_scope_becomes_a_module_of_pytorchcv(weight: str, name: str) -> None:
    assert list(prepare({weight: zeros(4)})) == [name]


def test_the_groups_of_a_convolution_are_joined_in_their_order() -> None:
    tensors = {
        f"features|{SCOPE}/conv2/conv/convgroup{g}/kernel:0": np.full((3, 3, 2, 4), g, "float32")
        for g in (1, 10, 11, 12, 2, 3, 4, 5, 6, 7, 8, 9)
    }
    (joined,) = prepare(tensors).values()
    assert joined.shape == (3, 3, 2, 48)
    assert joined[0, 0, 0, ::4].tolist() == list(range(1, 13))


def test_groups_of_different_shapes_and_repeated_names_are_not_joined() -> None:
    group = f"features|{SCOPE}/conv2/conv/convgroup{{}}/kernel:0"
    assert len(prepare({group.format(1): zeros(3, 3, 2, 4), group.format(2): zeros(3, 3, 1, 4)})) == 2
    assert len(prepare({"output1|a/output1/kernel:0": zeros(2, 3), "output1|b/output1/kernel:0": zeros(2, 3)})) == 2


def test_names_of_other_publishers_are_kept() -> None:
    tensors = {"layer1.0.conv1.weight": zeros(1), "fc.bias": zeros(1)}
    assert prepare(tensors) == tensors


def test_a_residual_network_with_folded_batch_norm_gets_batch_norms_that_add_the_bias() -> None:
    block = "wrn/features/features/stage1/stage1/unit1/body/conv1/conv/conv"
    bias = np.arange(4, dtype="float32")
    tensors = prepare({f"features|{block}/kernel:0": zeros(1, 1, 2, 4), f"features|{block}/bias:0": bias})
    norm = {k.rpartition(".")[2]: v for k, v in tensors.items() if ".bn." in k}
    assert set(tensors) == {
        "features.stage1.unit1.body.conv1.conv.kernel",
        *(f"features.stage1.unit1.body.conv1.bn.{v}" for v in ("gamma", "beta", "moving_mean", "moving_variance")),
    }
    x = np.random.default_rng(0).normal(size=(9, 4)).astype("float32")
    scaled = (x - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + np.float32(1e-5)) * norm["gamma"]
    np.testing.assert_allclose(scaled + norm["beta"], x + bias, rtol=1e-6)


def test_a_map_is_flattened_channels_first() -> None:
    x = keras.Input((2, 3, 4))
    layer = Dense(5)
    layer(Flatten()(x))
    rng = np.random.default_rng(0)
    image, theirs = rng.normal(size=(2, 3, 4)), rng.normal(size=(24, 5))
    ours = kernel(theirs, layer)
    np.testing.assert_allclose(image.reshape(-1) @ ours, image.transpose(2, 0, 1).reshape(-1) @ theirs)
