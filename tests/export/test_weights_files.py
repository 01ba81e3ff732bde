"""Weights written for other libraries: the names and shapes of theirs, read back by our own readers and by Keras."""

import json

import keras
import numpy as np
import pytest

from keras_inception import InputError, Preprocessing, Run, cli, create_model, export
from keras_inception.export.formats import export_run, exported
from keras_inception.registry import get
from keras_inception.weights import checkpoints
from keras_inception.weights.publishers import LAYOUTS
from keras_inception.weights.readers import read

from ..weights.files import randomize
from ..weights.golden import FOLDER, unfold

SHAPE = (64, 64, 3)


def network(name: str, /, **arguments) -> keras.Model:
    """For three classes, with logits as outputs."""
    given = {"classes": 3, "input_shape": SHAPE, "classifier_activation": None}
    return randomize(get(name).build(**given | arguments))


def logits(model: keras.Model) -> np.ndarray:
    images = np.random.default_rng(1).normal(size=(2, *model.input_shape[1:])).astype("float32")
    return np.asarray(model(images, training=False))


@pytest.fixture(scope="module")
def shuffled() -> keras.Model:
    return network("shufflenet_v2", scale=0.5, numerics="torch")


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".pt"])
def test_a_state_dict_comes_back(shuffled, ending, tmp_path) -> None:
    path = export.to_torch(shuffled, tmp_path / f"weights{ending}", layout="torchvision")
    again = network("shufflenet_v2", scale=0.5, weights=path)
    np.testing.assert_allclose(logits(again), logits(shuffled), rtol=0, atol=1e-6)
    assert read(path)["conv1.1.num_batches_tracked"].dtype == np.int64


@pytest.mark.parametrize(
    ("layout", "name", "arguments", "golden"),
    [
        ("torchvision", "densenet121", {}, "densenet121"),
        ("torchvision", "inception_v1_bn", {"aux_heads": True, "input_shape": (128, 128, 3)}, "inception_v1_bn"),
        ("timm", "mobilenet_v1", {"alpha": 1.0}, "mobilenet_v1-1.0"),
        ("cadene", "inception_v2", {}, "inception_v2"),
        ("pytorchcv", "wide_resnet28_10", {"input_shape": (32, 32, 3)}, "wide_resnet28_10"),
    ],
)
def test_names_and_shapes_are_those_of_the_library(layout, name, arguments, golden, tmp_path) -> None:
    model = network(name, numerics="torch", **arguments)
    found = read(export.to_torch(model, tmp_path / "weights.safetensors", layout=layout))
    theirs = dict(unfold(json.loads((FOLDER / f"{layout}-{golden}.json").read_text())["tensors"]))
    theirs = LAYOUTS[layout].prepare({name: np.empty(shape, np.float32) for name, shape in theirs.items()})
    classes = {10, 1000, 1001}  # there, of a classifier in the first axis
    expected = {k: tuple(3 if n in classes and not i else n for i, n in enumerate(v.shape)) for k, v in theirs.items()}
    counters = {name: () for name in found if name.endswith("num_batches_tracked")}  # older files have none
    assert {name: array.shape for name, array in found.items()} == expected | counters


@pytest.mark.parametrize(
    ("name", "theirs", "arguments"),
    [
        ("mobilenet_v1", "MobileNet", {"alpha": 0.25}),  # its classifier is a convolution
        ("resnet50", "ResNet50", {}),  # its convolutions have a bias before batch norm
        ("xception", "Xception", {"input_shape": (71, 71, 3)}),  # separable convolutions, numbered layers
    ],
)
def test_keras_loads_an_h5_by_its_order(name, theirs, arguments, tmp_path) -> None:
    model = network(name, numerics="keras" if name == "resnet50" else "tf", **arguments)
    path = export.to_keras_h5(model, tmp_path / "weights.h5")
    given = {"classes": 3, "input_shape": SHAPE, "classifier_activation": None} | arguments
    again = getattr(keras.applications, theirs)(weights=str(path), **given)
    np.testing.assert_allclose(logits(again), logits(model), rtol=0, atol=1e-5)


def test_a_list_of_names_that_is_too_long_for_one_attribute_is_split(tmp_path) -> None:
    from keras_inception.weights.writers import write_h5

    layers = {f"layer_{i}" + 40 * "x": {f"layer_{i}/kernel:0": np.full(2, i, np.float32)} for i in range(2000)}
    write_h5(tmp_path / "long.h5", layers)
    found = read(tmp_path / "long.h5")
    assert [array[0] for array in found.values()] == list(range(2000))


@pytest.mark.parametrize(
    ("name", "arguments", "given", "message"),
    [
        (
            "mobilenet_v2",
            {"alpha": 1.0},
            {},
            r"stem_conv has padding valid there and same here; build it with numerics='torch'",
        ),
        ("mobilenet_v2", {"alpha": 0.5, "numerics": "torch"}, {}, r"has filters 32 there and 16 here; .*alpha=1.0"),
        (
            "mobilenet_v2",
            {"alpha": 1.0, "se_ratio": 16, "numerics": "torch"},
            {},
            r"it has no layer block_0_depthwise_mix_conv",
        ),
        ("mobilenet_v1", {"alpha": 0.25}, {}, r"not in the torchvision layout; it can be written in: keras, timm"),
        ("lenet5", {"input_shape": (32, 32, 1)}, {}, r"not in the torchvision layout; it can be written in: none"),
        ("mobilenet_v2", {"name": "mine"}, {}, r"'mine'.*say which network this is, network="),
        ("mobilenet_v2", {}, {"layout": "keras"}, r"layout is one of timm, torchvision, pytorchcv, cadene, facenet"),
        ("mobilenet_v2", {}, {"path": "weights.onnx"}, r"must end in one of .safetensors, .pth, .pt"),
    ],
)
def test_what_the_library_would_compute_otherwise_is_refused(name, arguments, given, message, tmp_path) -> None:
    given = {"layout": "torchvision", "path": "weights.pth"} | given
    with pytest.raises(InputError, match=message) as raised:
        export.to_torch(network(name, **arguments), tmp_path / given.pop("path"), **given)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_network_without_its_top_is_refused(tmp_path) -> None:
    model = create_model("shufflenet_v2", scale=0.5, include_top=False, input_shape=SHAPE, numerics="torch")
    with pytest.raises(InputError, match="has no classifier"):
        export.to_torch(model, tmp_path / "weights.pth", layout="torchvision")


def test_a_file_is_replaced_only_when_that_is_said(shuffled, tmp_path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match="exists: give another path, or say overwrite"):
        export.to_torch(shuffled, path, layout="torchvision")
    assert path.read_bytes() == b"mine"
    export.to_torch(shuffled, path, layout="torchvision", overwrite=True)
    assert len(read(path)) > 100
    assert [file.name for file in tmp_path.iterdir()] == ["weights.pth"]


def test_each_layout_computes_a_network_in_one_way() -> None:
    """Otherwise the numerics that an error names would be one choice of several.

    pytorchcv has ResNet v2 in two, under two names of its own; an error names the one with fewer differences.
    """
    ways: dict[tuple[str, str], set[str]] = {}
    for record in checkpoints():
        ways.setdefault((record.layout, record.model), set()).add(record.numerics)
    several = {key: found for key, found in ways.items() if len(found) > 1 and key[0] not in ("tf2cv", "slim")}
    assert several == {("pytorchcv", f"resnet{depth}_v2"): {"pytorchcv", "torch"} for depth in (50, 101, 152)}


@pytest.mark.slow
def test_a_run_is_exported_and_not_measured(tmp_path, capsys) -> None:
    model = network("mobilenet_v2", alpha=1.0, numerics="torch")
    model.save(tmp_path / "model.keras")
    about = {"labels": ("a", "b", "c"), "preprocessing": Preprocessing(size=SHAPE[:2])}
    run = Run(builder="MobileNetV2", kwargs={"alpha": 1.0}, path=tmp_path, **about)
    run.save()
    with pytest.raises(InputError, match=r"computes something else than keras's mobilenet_v2.*numerics='tf'"):
        export_run(run, ["torchvision", "keras-h5"])
    assert not (tmp_path / "exports").exists()
    [file] = export_run(run, ["torchvision"])
    again = network("mobilenet_v2", weights=file)
    np.testing.assert_allclose(logits(again), logits(model), rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="has no exports"):  # none that is run here
        exported(run)
    cli.app(["export", str(tmp_path), "--to", "torchvision", "--overwrite"], standalone_mode=False)
    assert capsys.readouterr().out == f"wrote {file}\n"
