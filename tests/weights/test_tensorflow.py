"""Checkpoints of TensorFlow 1 are read in every form in which they are published; others are refused in one line."""

import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_inception as ki
from keras_inception import InputError
from keras_inception.weights import checkpoint_of, find, readers
from keras_inception.weights.download import file_name
from keras_inception.weights.readers import read

from .files import randomize, slim_names

SIZE = (64, 64, 3)
NAME = "mobilenet_v1_0.25_192"  # is not the first of its layout: only the file's name tells
ARRAYS = {"N/conv/weights": np.arange(24, dtype="float32").reshape(2, 3, 4), "N/conv/biases": np.ones(3, "float32")}


def write(prefix: Path, arrays: Mapping[str, np.ndarray], version: int = 2) -> Path:
    """A checkpoint as TensorFlow 1 writes it, in the format of 2016 (1) or the next."""
    names, values = list(arrays), [tf.constant(array) for array in arrays.values()]
    prefix.parent.mkdir(exist_ok=True, parents=True)
    if version == 1:
        tf.raw_ops.Save(filename=str(prefix), tensor_names=names, data=values)
    else:
        whole = [""] * len(names)
        tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=whole, tensors=values)
    return prefix


def pack(path: Path, files: Mapping[str, Path]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, file in files.items():
            archive.add(file, name)
    return path


def freeze(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """A frozen graph, with a constant that was none of the variables."""
    graph = tf.compat.v1.GraphDef()
    for name, array in {**arrays, "N/shape": np.array([1, 2])}.items():
        node = graph.node.add(name=name, op="Const")
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array))
        if name in arrays:
            graph.node.add(name=f"{name}/read", op="Identity", input=[name])
    path.write_bytes(graph.SerializeToString())
    return path


def forms(folder: Path, name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Path]:
    """The same weights in every form, by what is given as the path."""
    v2, v1 = write(folder / "2018" / f"{name}.ckpt", arrays), write(folder / "2016" / f"{name}.ckpt", arrays, 1)
    inside = {f"{name}/{file.name}": file for file in v2.parent.iterdir()}
    return {
        "prefix": v2,
        "index": v2.with_name(f"{v2.name}.index"),
        "data": v2.with_name(f"{v2.name}.data-00000-of-00001"),
        "folder": v2.parent,
        "tgz": pack(folder / f"{name}.tgz", inside | {f"{name}/notes.txt": Path(__file__)}),
        "2016": v1,
        "2016 folder": v1.parent,
        "2016 tar.gz": pack(folder / f"{name}.tar.gz", {v1.name: v1}),
        "pb": freeze(folder / f"{name}_frozen.pb", arrays),
    }


def test_every_form_has_the_same_tensors(tmp_path: Path) -> None:
    for form, path in forms(tmp_path, "x", ARRAYS).items():
        tensors = read(path)
        assert sorted(tensors) == sorted(ARRAYS), form
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(tensors[name], array, err_msg=form)


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    return randomize(ki.MobileNetV1(alpha=0.25, input_shape=SIZE, classifier_activation=None))


@pytest.fixture(scope="module")
def published(trained: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return forms(tmp_path_factory.mktemp("slim"), NAME, slim_names(trained, "mobilenet_v1"))


@pytest.mark.parametrize("form", ["prefix", "folder", "tgz", "2016"])
def test_a_network_is_filled_and_its_record_known_by_the_files_name(
    trained: keras.Model, published: dict[str, Path], form: str
) -> None:
    model = ki.MobileNetV1(weights=published[form], input_shape=SIZE, classifier_activation=None)
    assert checkpoint_of(model) == find("mobilenet_v1", "slim_025_192_in1k")
    x = np.random.default_rng(0).normal(size=(2, *SIZE)).astype("float32")
    np.testing.assert_allclose(model(x), trained(x), atol=1e-6)


def test_another_network_is_refused(published: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"does not hold mobilenet_v2: the names of its 137 tensors, as 'Mob"):
        ki.MobileNetV2(weights=published["prefix"])
    with pytest.raises(InputError, match=r"does not hold mobilenet_v1 in the slim layout: .* of another shape: Mob"):
        ki.MobileNetV1(weights=published["pb"], alpha=0.5, input_shape=SIZE)


def test_a_moving_average_is_taken_and_an_optimizer_left_out(tmp_path: Path) -> None:
    kept = {"N/conv/weights/ExponentialMovingAverage": np.full((2, 2), 7, "float32")}
    arrays = ARRAYS | kept | {f"N/conv/biases/{slot}": np.zeros(3, "float32") for slot in ("RMSProp", "RMSProp_1")}
    arrays |= {"global_step": np.array(9), "beta1_power": np.float32(0), "train/beta2_power": np.float32(0)}
    tensors = read(write(tmp_path / "model.ckpt-9", arrays))
    assert sorted(tensors) == ["N/conv/biases", "N/conv/weights"]
    assert (tensors["N/conv/weights"] == 7).all()


def test_of_several_checkpoints_the_last_that_the_folder_names(tmp_path: Path) -> None:
    for step in (1, 2):
        write(tmp_path / f"model.ckpt-{step}", {"N/weights": np.full(3, step, "float32")})
    with pytest.raises(InputError, match=r"has 2 checkpoints; give one: model\.ckpt-1, model\.ckpt-2"):
        read(tmp_path)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-2"\n')
    assert read(tmp_path)["N/weights"][0] == 2
    assert read(tmp_path / "model.ckpt-1")["N/weights"][0] == 1


# ------------------------------------------------------------------------------------------------------------- damaged


def refused(path: Path, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["index", "data", "2016"])
def test_a_truncated_checkpoint(tmp_path: Path, form: str) -> None:
    path = forms(tmp_path, "x", ARRAYS)[form]
    os.truncate(path, path.stat().st_size - 9)
    if form == "2016":  # without its last bytes it is like a file of PyTorch
        refused(path, "is not a complete PyTorch file")
    else:
        refused(path, r"x\.ckpt is not a complete TensorFlow checkpoint: ")


@pytest.mark.parametrize("form", ["data", "2016"])
def test_changed_bytes(tmp_path: Path, form: str) -> None:
    path = forms(tmp_path, "x", ARRAYS)[form]
    content = bytearray(path.read_bytes())
    content[20:24] = b"\xff" * 4
    path.write_bytes(content)
    refused(path, "is not a complete TensorFlow checkpoint: ")


def test_a_missing_half(tmp_path: Path) -> None:
    made = forms(tmp_path, "x", ARRAYS)
    made["data"].unlink()
    refused(made["prefix"], "is not a complete TensorFlow checkpoint: its tensors are stated to have 108 bytes")


def test_a_truncated_archive(tmp_path: Path) -> None:
    path = forms(tmp_path, "x", ARRAYS)["2016 tar.gz"]
    os.truncate(path, path.stat().st_size // 2)
    refused(path, r"x\.tar\.gz is not a complete tar\.gz file: ")
    path.write_bytes(b"not an archive")
    refused(path, r"x\.tar\.gz is not a complete tar\.gz file: ")


def test_a_damaged_checkpoint_in_an_archive_is_called_by_the_archives_name(tmp_path: Path) -> None:
    v2 = forms(tmp_path, "x", ARRAYS)["index"]
    refused(pack(tmp_path / "half.tgz", {v2.name: v2}), r"half\.tgz: x\.ckpt is not a complete TensorFlow checkpoint: ")


def test_an_archive_without_a_checkpoint(tmp_path: Path) -> None:
    refused(pack(tmp_path / "x.tgz", {"model.txt": Path(__file__)}), "holds no TensorFlow checkpoint")


def test_an_archive_writes_nothing_outside_and_follows_no_link(tmp_path: Path) -> None:
    v1 = forms(tmp_path, "x", ARRAYS)["2016"]
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    path = pack(inside / "x.tgz", {"../../out.ckpt": v1})
    with tarfile.open(inside / "link.tgz", "w:gz") as archive:
        link = tarfile.TarInfo("link.ckpt")
        link.type, link.linkname = tarfile.SYMTYPE, str(v1)
        archive.addfile(link)
    assert sorted(read(path)) == sorted(ARRAYS)
    assert not list(tmp_path.rglob("out.ckpt"))
    refused(inside / "link.tgz", "holds no TensorFlow checkpoint")


def test_sizes_are_checked_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = forms(tmp_path, "x", {"N/weights": np.zeros(50_000, "float32")})
    monkeypatch.setattr(readers, "LARGEST", 100_000)
    refused(made["tgz"], "unpacks to more than 100,000 bytes")
    refused(made["prefix"], "its tensors are stated to have 200,000 bytes")
    refused(made["2016"], "its tensors are stated to have 200,000 bytes")


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    refused(write(tmp_path / "x.ckpt", {"N/weights": np.array([np.nan])}), "is damaged: N/weights has values that are")


def test_other_files_of_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "x.pb").write_bytes(b"no graph")
    refused(tmp_path / "x.pb", "is not a frozen graph of TensorFlow: ")
    objects = tf.train.Checkpoint(v=tf.Variable(1.0)).write(str(tmp_path / "ckpt-1"))
    refused(Path(objects), r"is a checkpoint of TensorFlow 2, which names objects and not layers: load it")


# ------------------------------------------------------------------------------------------------------------- records


def test_a_file_in_the_cache_keeps_its_ending() -> None:
    assert file_name(find("inception_v3", "slim_in1k")) == "inception_v3.slim_in1k.tar.gz"
    assert file_name(find("mobilenet_v1", "slim_050_160_in1k")) == "mobilenet_v1.slim_050_160_in1k.tgz"


def test_a_tag_names_the_width_and_the_size() -> None:
    record = find("mobilenet_v2", "slim_035_96_in1k")
    assert record.urls[0].endswith("/mobilenet_v2_0.35_96.tgz")
    assert (dict(record.kwargs), record.preprocessing.size, record.classes) == ({"alpha": 0.35}, (96, 96), 1001)


def test_inception_v2_of_slim_is_a_variant() -> None:
    with pytest.raises(InputError, match=r"inception_v2\.slim_in1k was trained with variant='slim'; got 'caffe'"):
        ki.InceptionV2(weights="slim_in1k", variant="caffe")
    with pytest.raises(InputError, match=r"inception_v2\.cadene_in1k was trained with variant='caffe'; got 'slim'"):
        ki.InceptionV2(weights="cadene_in1k", variant="slim")
