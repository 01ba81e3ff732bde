"""Published tensors are matched by tables of names, strictly on both sides; files of every layout come from goldens."""

import json
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.layers import BatchNormalization, Conv2D, Dense, DepthwiseConv2D, Flatten, ReLU

from keras_inception import create_model
from keras_inception.errors import InputError
from keras_inception.weights import WeightsSource, checkpoints, frameworks, rules
from keras_inception.weights.matching import Layout, fill, match, recognises
from keras_inception.weights.publishers import LAYOUTS

from .golden import FOLDER, fold, places, unfold
from .proofs import BAR, proofs
from .report import PATH, recorded, table

RENEW = "record it with `python -m tests.weights --accept -k {id}` (see tests/weights/__main__.py)"
# Small networks of every publisher but one, and every way to name and to order weights.
QUICK = {
    "keras-densenet121",
    "keras-mobilenet_v1-0.25",
    "timm-mobilenet_v2-0.5",
    "torchvision-resnet18",
    "torchvision-squeezenet1_1",
    "cadene-inception_v2",
    "legacy-xception",
    "pytorchcv-nin_cifar",
    "tf2cv-resnet18",
    "tf2cv-shufflenet_v2-0.5",
    "slim-mobilenet_v2-0.35",
    "caffe-lenet5-caffe",
    "caffe-inception_v1",
    "caffe-squeezenet1_0-1",
}

# ------------------------------------------------------------------------------------------------------ published files


@pytest.mark.parametrize(
    "proof", [pytest.param(p, id=p.id, marks=[] if p.id in QUICK else [pytest.mark.slow]) for p in proofs()]
)
def test_a_published_file_fills_the_network_as_it_did_when_its_logits_agreed(proof) -> None:
    path: Path = FOLDER / f"{proof.id}.json"
    assert path.exists(), f"no golden {path.name}: " + RENEW.format(id=proof.id)
    golden = json.loads(path.read_text())
    assert golden["reference"] == proof.reference[0]
    shapes = dict(unfold(golden["tensors"]))
    tensors = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}

    keras.backend.clear_session()
    record = proof.record
    source = WeightsSource(checkpoint=record)
    arguments = {**record.kwargs, **source.arguments}
    model = create_model(record.model, input_shape=source.input_shape, **arguments)
    fill(model, record.model, LAYOUTS[record.layout], tensors, path=path.name)

    assert places(model, record.model, record.layout, tensors) == golden["places"], RENEW.format(id=proof.id)
    assert recognises(LAYOUTS[record.layout], record.model, tensors)
    made_up = {"gamma", "moving_variance"} if proof.id == "tf2cv-wide_resnet50_2" else {}  # its file has no batch norm
    assert not any(np.any(v) for v in model.weights if v.name not in made_up), "filled with zeros, so every weight is 0"


def test_no_golden_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} <= {proof.id for proof in proofs()}


def test_every_record_has_a_proof_and_the_table_shows_it() -> None:
    proven = [record.id for proof in proofs() if recorded(proof).get("largest", 1) <= BAR for record in proof.records]
    assert sorted(proven) == sorted(record.id for record in checkpoints())
    assert PATH.read_text() == table(), "`python -m tests.weights --accept -k PART` writes it with a golden"


def test_the_quick_proofs_exist() -> None:
    assert {proof.id for proof in proofs()} >= QUICK


def test_a_folded_list_of_names_unfolds_to_itself() -> None:
    shapes = {f"layer{i}.{j}.conv.weight": (8, 4 * i, 3, 3) for i in (1, 2) for j in range(9)} | {"step": ()}
    shapes |= {f"conv{i}_block{j}|conv{i}_block{j}/{v}:0": (3, 3) for i in (2, 3) for j in range(9) for v in "ab"}
    assert dict(unfold(fold(shapes))) == shapes
    assert len(json.dumps(fold(shapes))) < len(json.dumps(shapes)) / 4


# ------------------------------------------------------------------------------------------------------------ the rules


def test_a_row_has_offsets_kinds_and_counts() -> None:
    table = {
        "conv{s}_block{b}_shortcut": "layer{s-1}.{b-1}.downsample.[0|1]",
        "block_{i}{r:_residual|}": "blocks.{i+1}",
        "{w:mixed_.*}": "[conv2d|norm]_{#}",
    }
    bases = ["conv3_block1_shortcut", "block_4_residual", "mixed_b", "mixed_a_0", "other"]
    found = rules.translate([(base, kind) for base in bases for kind in ("conv", "bn")], table)
    assert list(found.values()) == [
        *("layer2.0.downsample.0", "layer2.0.downsample.1"),
        *("blocks.5", "blocks.5"),
        *("conv2d_0", "norm_0"),
        *("conv2d_1", "norm_1"),
        *(None, None),
    ]


def test_every_module_that_a_row_can_name_is_recognised_and_no_other() -> None:
    row = rules.modules_of("layer{s-1}.{b-1}.[conv|bn]{i+1}")
    assert row.fullmatch("layer2.0.conv1")
    assert row.fullmatch("layer2.0.bn3")
    assert not row.fullmatch("layer2.0.downsample.0")
    assert not row.fullmatch("layer2.conv1")


# ------------------------------------------------------------------------------------------------------- strict filling


NETWORK = "small"
LAYOUT = Layout(
    name="small",
    framework=frameworks.TORCH,
    tables={NETWORK: {"conv{i}": "[conv|bn]{i}", "fc6": "hidden", "logits": "fc", "aux_1_logits": "side.fc"}},
)


def small(top: bool = True, gamma: bool = True) -> keras.Model:
    """A convolution, a depthwise, a grouped, and a dense layer on the map."""
    x = inputs = keras.Input((6, 4, 4))
    for i, layer in enumerate(
        (
            Conv2D(8, 3, use_bias=False, name="conv1_conv"),
            DepthwiseConv2D(1, use_bias=False, name="conv2_conv"),
            Conv2D(6, 1, groups=2, use_bias=False, name="conv3_conv"),
        ),
        1,
    ):
        x = ReLU()(BatchNormalization(scale=gamma, name=f"conv{i}_bn")(layer(x)))
    if top:
        x = Dense(7, name="fc6_dense")(Flatten()(x))
        x = Dense(3, name="logits")(x)
    return keras.Model(inputs, x, name="ours")


@cache
def theirs() -> dict[str, np.ndarray]:
    """A file of `small` with PyTorch's names and axes."""
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (8, 4, 3, 3), "conv2.weight": (8, 1, 1, 1)}
    shapes |= {"conv3.weight": (6, 4, 1, 1), "hidden.weight": (7, 4 * 2 * 6), "hidden.bias": (7,)}
    shapes |= {"fc.weight": (3, 7), "fc.bias": (3,)}
    for i, channels in enumerate((8, 8, 6), 1):
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"bn{i}.{name}"] = (channels,)
        shapes[f"bn{i}.num_batches_tracked"] = ()
    return {name: rng.uniform(0.5, 1.5, shape).astype("float32") for name, shape in shapes.items()}


def filled(tensors: dict[str, np.ndarray], **kwargs: bool) -> keras.Model:
    model = small(**kwargs)
    fill(model, NETWORK, LAYOUT, tensors, path="file.pth")
    return model


def test_axes_are_reordered_and_flattening_channels_first_is_undone() -> None:
    tensors = theirs()
    model = filled(tensors)
    np.testing.assert_array_equal(model.get_layer("conv1_conv").kernel[2, 1, 3, 5], tensors["conv1.weight"][5, 3, 2, 1])
    np.testing.assert_array_equal(model.get_layer("conv2_conv").kernel[0, 0, :, 0], tensors["conv2.weight"][:, 0, 0, 0])
    np.testing.assert_array_equal(model.get_layer("conv3_conv").kernel[0, 0], tensors["conv3.weight"][:, :, 0, 0].T)
    rows, columns, channels = 4, 2, 6
    pixels = np.random.default_rng(1).normal(size=(rows, columns, channels))
    expected = tensors["hidden.weight"] @ pixels.transpose(2, 0, 1).ravel()
    np.testing.assert_allclose(pixels.ravel() @ np.array(model.get_layer("fc6_dense").kernel), expected, rtol=1e-5)


def test_a_bias_before_batch_norm_is_subtracted_from_the_mean() -> None:
    bias = np.arange(8, dtype="float32")
    model = filled(theirs() | {"conv1.bias": bias})
    norm = model.get_layer("conv1_bn")
    np.testing.assert_allclose(norm.moving_mean, theirs()["bn1.running_mean"] - bias)


def test_a_model_without_its_top_leaves_the_classifier_and_auxiliary_heads_in_the_file() -> None:
    filled(theirs() | {"side.fc.weight": np.zeros((3, 9), "float32")}, top=False)


def test_the_background_before_a_thousand_classes_is_dropped() -> None:
    x = inputs = keras.Input((2,))
    model = keras.Model(inputs, Dense(1000, name="logits")(x))
    weight, bias = np.arange(2002, dtype="float32").reshape(1001, 2), np.arange(1001, dtype="float32")
    fill(model, NETWORK, LAYOUT, {"fc.weight": weight, "fc.bias": bias}, path="file")
    np.testing.assert_array_equal(model.get_layer("logits").kernel, weight[1:].T)
    np.testing.assert_array_equal(model.get_layer("logits").bias, bias[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t | {"extra.weight": np.zeros(3)}, r"1 only in the file: extra\.weight \(3,\)$"),
        (lambda t: t | {"conv1.bias": np.zeros(3)}, r"1 only in the file: conv1\.bias \(3,\)$"),
        (
            lambda t: {k: v for k, v in t.items() if k != "bn2.bias"},
            r"1 only in ours: conv2_bn/beta \(8,\)$",
        ),
        (
            lambda t: t | {"conv1.weight": np.zeros((8, 4, 5, 5))},
            r"1 of another shape: conv1\.weight \(5, 5, 4, 8\) for conv1_conv's \(3, 3, 4, 8\)$",
        ),
        (
            lambda t: {f"x.{k}": v for k, v in t.items()},
            r"1[89] only in the file: x\.conv1\.weight.*, \.\.\.; 1\d only in ours",
        ),
    ],
    ids=["extra", "extra bias", "missing", "shape", "other names"],
)
def test_a_file_that_does_not_fit_is_an_error_with_both_sides_and_changes_nothing(change, message: str) -> None:
    model = small()
    before = model.get_weights()
    with pytest.raises(InputError, match=r"^file\.pth does not hold small in the small layout: .*" + message):
        fill(model, NETWORK, LAYOUT, change(theirs()), path="file.pth")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_scale_that_only_the_file_has_is_an_error() -> None:
    with pytest.raises(InputError, match=r"3 only in the file: bn1\.weight \(8,\)"):
        filled(theirs(), gamma=False)


def test_adapt_is_called_for_another_shape_and_may_keep_the_variable() -> None:
    model, asked = small(), []
    before = np.array(model.get_layer("logits").kernel)

    def adapt(layer: keras.layers.Layer, variable: str, array: np.ndarray) -> None:
        asked.append((layer.name, variable, array.shape))

    tensors = theirs() | {"fc.weight": np.zeros((9, 7), "float32"), "fc.bias": np.zeros(9, "float32")}
    fill(model, NETWORK, LAYOUT, tensors, path="file", adapt=adapt)
    assert asked == [("logits", "kernel", (7, 9)), ("logits", "bias", (9,))]
    np.testing.assert_array_equal(model.get_layer("logits").kernel, before)


def test_a_layout_recognises_a_file_by_its_names() -> None:
    assert recognises(LAYOUT, NETWORK, theirs())
    assert not recognises(LAYOUT, NETWORK, {f"x.{k}": v for k, v in theirs().items()})
    assert not recognises(LAYOUT, NETWORK, {})
    assert not recognises(LAYOUT, "another", theirs())


# ----------------------------------------------------------------------------------------------------- Keras' own files


def keras_file(old: bool, first: int = 0) -> dict[str, np.ndarray]:
    """MobileNet v2's file by keras.applications, or by the package that Keras took it from."""
    golden = json.loads((FOLDER / "keras-mobilenet_v2-0.35.json").read_text())
    tensors = {name: np.zeros(shape, "float32") for name, shape in unfold(golden["tensors"])}
    names = {
        "expanded_conv_depthwise|": "mobl0_conv_0_depthwise|",
        "expanded_conv_depthwise_BN|": "bn0_conv_0_bn_depthwise|",
        "expanded_conv_project|": "mobl0_conv_0_project|",
        "expanded_conv_project_BN|": "bn0_conv_0_bn_project|",
        "predictions|": "Logits|",
    }
    for i in range(1, 17):
        for part in ("expand", "depthwise", "project"):
            names |= {f"block_{i}_{part}|": f"mobl{i}_conv_{i}_{part}|"}
            names |= {f"block_{i}_{part}_BN|": f"bn{i}_conv_{i}_bn_{part}|"}
    if old:
        tensors = {
            names.get(k.split("|")[0] + "|", k.split("|")[0] + "|") + k.split("|")[1]: v for k, v in tensors.items()
        }
    return tensors


def test_older_names_of_keras_files_are_translated() -> None:
    model = create_model("mobilenet_v2", alpha=0.35)
    new, old = (match(model, "mobilenet_v2", LAYOUTS["keras"], keras_file(old))[0] for old in (False, True))
    assert [m[:2] for m in new] == [m[:2] for m in old]
    assert recognises(LAYOUTS["keras"], "mobilenet_v2", keras_file(old=True))


def test_layers_that_keras_numbered_are_renumbered_from_zero() -> None:
    prepare = LAYOUTS["keras"].prepare
    arrays = [np.zeros((1, 1, 2, 2)) + i for i in range(3)]
    started_anew = {f"{name}|{name}_W:0": a for name, a in zip(("conv2d", "conv2d_1", "conv2d_2"), arrays, strict=True)}
    later = {
        f"{name}|{name}/kernel:0": a for name, a in zip(("conv2d_95", "conv2d_99", "conv2d_103"), arrays, strict=True)
    }
    assert list(prepare(started_anew)) == list(prepare(later)) == [f"conv2d_{i}/kernel" for i in range(3)]


def test_the_weights_of_a_keras_layer_are_named_by_their_ranks() -> None:
    square, line = np.zeros((1, 1, 2, 2)), np.zeros(2)
    layers = {
        "separable": [square, square, line],
        "dense": [np.zeros((2, 2)), line],
        "norm": [line] * 4,
        "bare": [line] * 3,
    }
    tensors = {f"{name}|{i}": array for name, arrays in layers.items() for i, array in enumerate(arrays)}
    assert list(LAYOUTS["keras"].prepare(tensors)) == [
        *("separable.depthwise/kernel", "separable.pointwise/kernel", "separable.pointwise/bias"),
        *("dense/kernel", "dense/bias"),
        *("norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance"),
        *("bare/beta", "bare/moving_mean", "bare/moving_variance"),
    ]


def test_a_depthwise_kernel_that_is_summed_is_a_grouped_one() -> None:
    groups, width = 3, 2
    layer = Conv2D(groups * width, 1, groups=groups, use_bias=False)
    layer.build((None, 1, 1, groups * width))
    depthwise = np.random.default_rng(0).normal(size=(1, 1, groups * width, width))
    x = np.random.default_rng(1).normal(size=groups * width)
    summed = (x[:, None] * depthwise[0, 0]).reshape(groups, width, width).sum(axis=1).ravel()
    layer.kernel.assign(frameworks.keras_kernel(depthwise, layer))
    np.testing.assert_allclose(layer(x.reshape(1, 1, 1, -1).astype("float32")).numpy().ravel(), summed, rtol=1e-5)
