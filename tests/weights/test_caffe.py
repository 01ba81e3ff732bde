"""Caffe's files are read in both of their forms; others are refused in one line. See `proofs.md` for whole networks."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_inception as ki
from keras_inception import InputError
from keras_inception.data import from_arrays
from keras_inception.run import Run
from keras_inception.training import train
from keras_inception.weights import checkpoint_of, checkpoints, find
from keras_inception.weights.download import cached, fetch, file_name
from keras_inception.weights.labels import devkit_places, imagenet_labels
from keras_inception.weights.readers import read

from ..server import Server
from .files import randomize

# ------------------------------------------------------------------------------- a writer of the wire format, by itself


def number(value: int) -> bytes:
    """A varint."""
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(place: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return number(place << 3) + number(value)
    content = value.encode() if isinstance(value, str) else value
    return number(place << 3 | 2) + number(len(content)) + content


def blob(array: np.ndarray, old: bool = False) -> bytes:
    if old:
        shape = (1,) * (4 - array.ndim) + array.shape
        stated = b"".join(field(i, side) for i, side in enumerate(shape, 1))
    else:
        stated = field(7, field(1, b"".join(map(number, array.shape))))
    data, place = (array.astype("<f8"), 8) if array.dtype == "float64" else (array.astype("<f4"), 5)
    return stated + field(place, data.tobytes())


def layer(
    name: str, kind: str, blobs: Sequence[np.ndarray] = (), bottom: str = "data", top: str = "", **other: bytes
) -> bytes:
    fields = [field(1, name), field(2, kind), field(3, bottom), field(4, top or name)]
    content = b"".join([*fields, *(field(7, blob(array)) for array in blobs), *other.values()])
    return field(100, content)


def old_layer(name: str, kind: int, blobs: Sequence[np.ndarray]) -> bytes:
    fields = [field(2, "data"), field(3, name), field(4, name), field(5, kind)]
    return field(2, b"".join([*fields, *(field(6, blob(array, old=True)) for array in blobs)]))


def model_file(path: Path, *layers: bytes) -> Path:
    path.write_bytes(field(1, "a network") + b"".join(layers))
    return path


def ramp(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape) / 7


CONV = [ramp(4, 3, 2, 2), ramp(4)]

# ------------------------------------------------------------------------------------------------------------- reading


def test_both_forms_of_a_layer_have_the_same_tensors(tmp_path: Path) -> None:
    dense = [ramp(5, 16), ramp(5)]
    new = model_file(
        tmp_path / "new.caffemodel",
        layer("data", "Input"),
        layer("a/conv", "Convolution", CONV, other=field(106, b"whatever")),
        layer("fc", "InnerProduct", dense),
    )
    old = model_file(tmp_path / "old.caffemodel", old_layer("a/conv", 4, CONV), old_layer("fc", 14, dense))
    for path in (new, old):
        tensors = read(path)
        assert list(tensors) == ["a/conv/weight", "a/conv/bias", "fc/weight", "fc/bias"]
        for array, expected in zip(tensors.values(), [*CONV, *dense], strict=True):
            np.testing.assert_array_equal(array, expected)
            assert array.dtype == "float32"


def test_a_file_in_double_precision(tmp_path: Path) -> None:
    path = model_file(tmp_path / "x.caffemodel", layer("conv", "Convolution", [ramp(2, 3, 1, 1, dtype="float64")]))
    np.testing.assert_allclose(read(path)["conv/weight"], ramp(2, 3, 1, 1))


STATISTICS = [ramp(4) * 8, ramp(4) * 4, np.array([4], "float32")]
SCALE = [ramp(4), ramp(4) + 1]


@pytest.mark.parametrize("top", ["conv", "bn"], ids=["in place", "apart"])
def test_batch_norm_gets_the_scale_that_follows_it(tmp_path: Path, top: str) -> None:
    path = model_file(
        tmp_path / "x.caffemodel",
        layer("conv", "Convolution", CONV[:1]),
        layer("bn", "BatchNorm", STATISTICS, "conv", top),
        layer("apart", "Scale", SCALE, "data", "other"),
        layer("scale_of_bn", "Scale", SCALE, top, top),
        layer("second", "Scale", SCALE, top, top),
    )
    tensors = read(path)
    names = ["conv/weight", "bn/mean", "bn/variance", "apart/weight", "apart/bias", "bn/scale", "bn/shift"]
    assert list(tensors) == [*names, "second/weight", "second/bias"]
    np.testing.assert_allclose(tensors["bn/mean"], ramp(4) * 2)
    np.testing.assert_allclose(tensors["bn/variance"], ramp(4))
    np.testing.assert_array_equal(tensors["bn/shift"], ramp(4) + 1)


def test_batch_norm_that_was_never_trained(tmp_path: Path) -> None:
    statistics = [*STATISTICS[:2], np.zeros(1, "float32")]
    path = model_file(tmp_path / "x.caffemodel", layer("bn", "BatchNorm", statistics))
    np.testing.assert_array_equal(read(path)["bn/mean"], np.zeros(4))


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    whole = model_file(tmp_path / "whole.caffemodel", layer("conv", "Convolution", CONV)).read_bytes()
    untrue = blob(ramp(3)).replace(field(7, field(1, b"\3")), field(7, field(1, b"\4")))
    huge = blob(ramp(3)).replace(field(7, field(1, b"\3")), field(7, field(1, number(2**62) + number(4))))
    cases: dict[str, tuple[bytes, str]] = {
        "cut": (whole[:-5], "is not a complete Caffe model"),
        "text": (b'name: "LeNet"\nlayer {}', "is not a complete Caffe model"),
        "empty": (b"", "holds no weights"),
        "no weights": (layer("data", "Input"), "holds no weights"),
        "shape": (layer("c", "Convolution", [], x=field(7, untrue)), "c is stated to be 4, and has 12 bytes"),
        "huge": (layer("c", "Convolution", [], x=field(7, huge)), "c is stated to be 4611686018427387904x4, and has"),
        "infinite": (layer("c", "Convolution", [np.full(3, np.inf)]), "c/weight has values that are not finite"),
    }
    for name, (content, says) in cases.items():
        path = tmp_path / f"{name}.caffemodel"
        path.write_bytes(content)
        with pytest.raises(InputError, match=says) as caught:
            read(path)
        assert "\n" not in str(caught.value), name


# ------------------------------------------------------------------------------------------------------- into a model


@pytest.fixture
def lenet() -> keras.Model:
    return randomize(ki.LeNet5(variant="caffe", input_shape=(28, 28, 1)))


def lenet_file(path: Path, model: keras.Model) -> Path:
    kernels = {name: model.get_layer(name).get_weights() for name in ("c1", "c3", "c5_dense", "logits")}
    conv = {name: [kernels[name][0].transpose(3, 2, 0, 1), kernels[name][1]] for name in ("c1", "c3")}
    hidden, bias = kernels["c5_dense"]
    hidden = hidden.reshape(4, 4, 50, 500).transpose(3, 2, 0, 1).reshape(500, 800)  # Caffe's channels are first
    return model_file(
        path,
        layer("conv1", "Convolution", conv["c1"]),
        layer("conv2", "Convolution", conv["c3"]),
        layer("ip1", "InnerProduct", [hidden, bias]),
        layer("ip2", "InnerProduct", [kernels["logits"][0].T, kernels["logits"][1]]),
    )


def test_lenet_is_filled_and_known_by_its_name(tmp_path: Path, lenet: keras.Model) -> None:
    assert lenet.count_params() == 431_080
    model = ki.LeNet5(weights=lenet_file(tmp_path / "lenet_iter_10000.caffemodel", lenet))
    record = checkpoint_of(model)
    assert record == find("lenet5", "caffe_mnist")
    assert model.input_shape == (None, 28, 28, 1)
    assert record.preprocessing.std == (256.0,)
    x = np.random.default_rng(0).uniform(size=(3, 28, 28, 1)).astype("float32")
    np.testing.assert_allclose(model(x), lenet(x), atol=1e-6)


def test_a_run_starts_from_a_file_and_keeps_its_network(tmp_path: Path, lenet: keras.Model) -> None:
    path = lenet_file(tmp_path / "lenet_iter_10000.caffemodel", lenet)
    images = np.random.default_rng(0).integers(0, 255, (12, 28, 28, 3), "uint8")
    data = from_arrays(images, np.arange(12) % 3, list("abc"))
    run = train(data, out=tmp_path / "run", model="lenet5", weights=path, epochs=1)
    run = Run.load(run.path)
    assert run.preprocessing.std == (256.0,)
    built = run.model()
    assert built.get_layer("c3").filters == 50
    np.testing.assert_array_equal(built.get_layer("c1").get_weights()[0], lenet.get_layer("c1").get_weights()[0])


def test_another_network_is_refused(tmp_path: Path, lenet: keras.Model) -> None:
    path = lenet_file(tmp_path / "lenet_iter_10000.caffemodel", lenet)
    with pytest.raises(InputError, match="does not hold alexnet: the names of its 8 tensors, as 'conv1/weight'"):
        ki.AlexNet(weights=path)
    with pytest.raises(InputError, match=r"lenet5\.caffe_mnist was trained with variant='caffe'; got 'paper'"):
        ki.LeNet5(weights=path, variant="paper")


def test_the_classes_of_the_devkit_come_in_the_usual_order() -> None:
    places = devkit_places()
    assert sorted(places) == list(range(1000))
    assert [imagenet_labels()[places.index(i)].name for i in (0, 1, 2, 489)] == [
        *("kit fox", "English setter", "Siberian husky", "sea snake"),  # ILSVRC2012_ID 1, 2, 3, 490
    ]
    assert {c.class_order for c in checkpoints("seresnet50")} == {"wordnet", "ilsvrc"}


# --------------------------------------------------------------------------------------------------------- its download


def test_a_page_for_browsers_is_named_and_its_file_taken_from_the_cache(home: Path) -> None:
    record = find("resnet50", "caffe_in1k")
    path = home / file_name(record)
    with pytest.raises(InputError) as caught:
        fetch(record)
    assert str(caught.value) == (
        f"{record.page} serves ResNet-50-model.caffemodel to browsers only: download it there, and give its path as "
        f"weights, or put it at {path}"
    )
    assert path.name == "resnet50.caffe_in1k.caffemodel"
    home.mkdir(exist_ok=True, parents=True)
    path.write_bytes(b"x")
    assert fetch(record) == path


def test_a_page_is_not_taken_by_itself() -> None:
    with pytest.raises(InputError, match=r"se_inception_v2 has no weights 'imagenet': It has 'caffe_in1k'"):
        find("se_inception_v2", "imagenet")
    assert find("nin", "imagenet").tag == "caffe_in1k"


def test_a_file_that_git_names_is_verified(server: Server, home: Path) -> None:
    content = b"a file in a repository"
    name = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    url = server.put("/x.caffemodel", content)
    assert cached([url], "x.caffemodel", f"git-sha1:{name}").read_bytes() == content
    with pytest.raises(InputError, match=r"is not the file that was published: its git-sha1 is"):
        cached([url], "y.caffemodel", f"git-sha1:{'0' * 40}")
