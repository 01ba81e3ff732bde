"""Tables of answers: every image once, whatever happens, from any kind of input, by any kind of predictor."""

import csv
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from keras_inception import LeNet5, export
from keras_inception.data import load_folder, write_shards
from keras_inception.errors import InputError
from keras_inception.evaluation import evaluate, many, predict_many
from keras_inception.outputs import backbone_of
from keras_inception.preprocessing import Preprocessing
from keras_inception.run import Run

LABELS = ("ant", "bee", "cat, or dog")
PREPROCESSING = Preprocessing(size=(28, 28), channels="L", mean=(100.0,), std=(50.0,))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    keras.utils.set_random_seed(3)
    path = tmp_path_factory.mktemp("runs") / "lenet"
    path.mkdir()
    model = LeNet5(classes=3, input_shape=(28, 28, 1))
    model.save(path / "model.keras")
    Run(builder="lenet5", kwargs={}, labels=LABELS, preprocessing=PREPROCESSING, path=path).save()
    return Run.load(path)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """50 images in two folders of classes, of several sizes; three more cannot be read."""
    folder, rng = tmp_path_factory.mktemp("data") / "images", np.random.default_rng(0)
    for i in range(50):
        file = folder / "ab"[i % 2] / f"{i:02d}.{('png', 'jpg', 'webp')[i % 3]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)).save(file)
    (folder / "b" / "empty.png").touch()
    (folder / "a" / "cut.jpg").write_bytes((folder / "b" / "01.jpg").read_bytes()[:-300])
    (folder / "b" / "text.jpg").write_text("no image")
    return folder


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(many, "PER_PART", 8)


def files_of(images: Path) -> list[str]:
    return [str(file) for file in sorted(images.rglob("*.*"))]


def rows_of(path: Path) -> list[dict]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def best(rows: list[dict]) -> list[tuple]:
    return [(row["image"], row["label"] or None, row["error"]) for row in rows]


def test_every_image_is_a_row_in_order(run, images, tmp_path, small_parts) -> None:
    out = tmp_path / "new" / "answers.jsonl"
    written = predict_many(run, images, out, top=2, batch_size=4)
    assert (written.path, written.images, written.unreadable, written.computed) == (out, 53, 3, 53)
    rows = rows_of(out)
    assert [row["image"] for row in rows] == files_of(images)
    errors = {Path(row["image"]).name: row["error"] for row in rows if row["error"]}
    assert errors.pop("cut.jpg").startswith("image file is truncated")
    assert errors == {"empty.png": "empty file", "text.jpg": "not a JPEG, PNG, BMP, GIF or WebP image"}
    wanted = {found.image: found for found in run.predict([row["image"] for row in rows if not row["error"]], top=2)}
    for row in rows:
        if row["error"]:
            assert (row["label"], row["probability"], row["labels"], row["probabilities"]) == (None, None, [], [])
            continue
        want = wanted[row["image"]]
        assert (row["label"], *row["labels"]) == (want.labels[0], *want.labels)
        assert row["probabilities"] == pytest.approx(want.probabilities, abs=1e-5)
        assert row["probability"] == row["probabilities"][0]
    assert list(out.parent.iterdir()) == [out]


def test_the_three_kinds_of_table_say_the_same(run, images, tmp_path, small_parts) -> None:
    tables = [tmp_path / f"x.{ending}" for ending in ("parquet", "jsonl", "csv")]
    for out in tables:
        predict_many(run, images, out, top=3, batch_size=8)
    parquet, lines, cells = map(rows_of, tables)
    assert list(cells[0]) == ["image", "label", "probability", "label_2", "probability_2", "label_3", "probability_3",
                              "error"]  # fmt: skip
    assert best(parquet) == best(lines) == best(cells)
    for first, second, third in zip(parquet, lines, cells, strict=True):
        assert first == second
        numbers = [third[name] for name in third if name.startswith("probability")]
        assert [float(number) for number in numbers if number] == first["probabilities"]
        assert [third[name] for name in third if name.startswith("label") and third[name]] == first["labels"]
    assert pq.read_schema(tables[0]).field("probabilities").type == pa.list_(pa.float32())


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_embeddings_are_what_the_classifier_takes(ending, run, images, tmp_path) -> None:
    out = tmp_path / f"x.{ending}"
    predict_many(run, images, out, embeddings=True)
    rows = [row for row in rows_of(out) if not row["error"]]
    inputs = np.stack([PREPROCESSING(np.asarray(Image.open(row["image"]).convert("RGB"))) for row in rows])
    want = np.asarray(backbone_of(run.model())(inputs))
    np.testing.assert_allclose([row["embedding"] for row in rows], want, atol=1e-3)
    assert all(row.get("embedding") is None for row in rows_of(out) if row["error"])


def test_embeddings_of_a_map_are_its_mean() -> None:
    from keras_inception import SqueezeNet1_1
    from keras_inception.outputs import with_embedding

    model = SqueezeNet1_1(classes=3, input_shape=(64, 64, 3))
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    found = with_embedding(model)(x)
    np.testing.assert_allclose(found["embedding"], np.mean(backbone_of(model)(x), (1, 2)), atol=1e-5)
    np.testing.assert_allclose(found["predictions"], model(x), atol=1e-6)


# ------------------------------------------------------------------------------------------------------- exactly once


def test_shards_together_are_the_whole(run, images, tmp_path, small_parts) -> None:
    predict_many(run, images, tmp_path / "whole.csv", batch_size=4)
    counts = [predict_many(run, images, tmp_path / "x.csv", batch_size=4, shards=3, shard=k).images for k in range(3)]
    assert counts == [21, 16, 16]  # parts 0, 3 and 6; 1 and 4; 2 and 5
    parts = [rows_of(tmp_path / f"x-{k:05d}-of-00003.csv") for k in range(3)]
    together = sorted((row for part in parts for row in part), key=lambda row: row["image"])
    assert together == sorted(rows_of(tmp_path / "whole.csv"), key=lambda row: row["image"])
    few = [predict_many(run, images, tmp_path / "z.csv", batch_size=4, shards=9, shard=k).images for k in range(9)]
    assert few == [8] * 6 + [5, 0, 0]
    fair = [predict_many(run, images, tmp_path / "f.csv", batch_size=1, shards=20, shard=k).images for k in range(20)]
    assert fair == [3] * 17 + [2, 0, 0]
    nothing = predict_many(run, images, tmp_path / "y.csv", batch_size=4, shards=9, shard=8)
    assert (nothing.images, rows_of(nothing.path)) == (0, [])


KILLED = """
import sys
from keras_inception.evaluation import many
from keras_inception.run import Run
many.PER_PART = 8
many.predict_many(Run.load(sys.argv[1]), sys.argv[2], sys.argv[3], batch_size=4)
"""


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_resumes(run, images, tmp_path, small_parts, kills) -> None:
    """SIGKILL while parts are written: the rows are those of a process that ran through."""
    files = files_of(images) * 20 * kills
    given, out, draw = tmp_path / "list.txt", tmp_path / "x.parquet", random.Random(0)
    given.write_text("".join(f"{file}\n" for file in files))
    parts = out.with_name("x.parquet.parts")
    for kill in range(kills):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, run.path, given, out], stderr=subprocess.DEVNULL
        ) as process:
            while process.poll() is None and len(list(parts.glob("0*"))) <= 100 * kill + draw.randrange(20, 80):
                time.sleep(0.005)
            time.sleep(draw.uniform(0, 0.02))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert parts.is_dir()
    written = predict_many(run, given, out, batch_size=4)
    assert written.computed <= written.images - (100 * (kills - 1) + 20) * 8
    predict_many(run, given, tmp_path / "y.parquet", batch_size=4)
    assert rows_of(out) == rows_of(tmp_path / "y.parquet")
    assert [row["image"] for row in rows_of(out)] == files
    assert sorted(tmp_path.iterdir()) == [given, out, tmp_path / "y.parquet"]


def cut(monkeypatch, after: int) -> None:
    """Fail as if the process was killed, once so many files are written."""
    write, written = many.write_file, []

    def killed(path, make):
        if len(written) == after:
            raise KeyboardInterrupt
        write(path, make)
        written.append(path)

    monkeypatch.setattr(many, "write_file", killed)


@pytest.mark.parametrize("after", range(9))
def test_cut_after_any_file_it_resumes_with_what_is_missing(
    after, run, images, tmp_path, small_parts, monkeypatch
) -> None:
    """The request, seven parts, the whole table."""
    out, parts = tmp_path / "x.csv", tmp_path / "x.csv.parts"
    with monkeypatch.context() as patch:
        cut(patch, after)
        with pytest.raises(KeyboardInterrupt):
            predict_many(run, images, out, batch_size=4)
    assert not out.exists()
    kept = {file: file.stat().st_mtime_ns for file in parts.glob("0*")}
    assert len(kept) == max(0, after - 1)
    (parts / ".part.1234.00000007.csv").write_text("half")
    computed = predict_many(run, images, out, batch_size=4).computed
    assert computed == max(0, 53 - 8 * len(kept))
    assert [row["image"] for row in rows_of(out)] == files_of(images)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("left", [0, 3, 7])
def test_killed_while_the_parts_are_removed(left, run, images, tmp_path, small_parts, monkeypatch) -> None:
    out = tmp_path / "x.parquet"
    unlink, removed = Path.unlink, []

    def killed(self, *args, **kwargs):
        if self.parent.suffix == ".parts" and not self.name.startswith("."):
            if len(removed) == left:
                raise KeyboardInterrupt
            removed.append(self)
        unlink(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            predict_many(run, images, out, batch_size=4)
    before = out.stat()
    written = predict_many(run, images, out, batch_size=4)
    assert (written.unreadable, written.computed) == (3, 0)
    assert out.stat().st_mtime_ns == before.st_mtime_ns
    assert list(tmp_path.iterdir()) == [out]


OTHERS = {
    "other images": lambda run, images: (run, images / "a", {}),
    "another network": lambda run, images: (changed(run), images, {}),
    "another number of classes": lambda run, images: (run, images, {"top": 2}),
    "other columns": lambda run, images: (run, images, {"embeddings": True}),
    "another batch size": lambda run, images: (run, images, {"batch_size": 2}),
}


def changed(run: Run) -> Run:
    other = Run.load(run.path)
    other.predictor.model.set_weights([2 * w for w in run.predictor.model.get_weights()])
    return other


@pytest.mark.parametrize("what", OTHERS)
def test_another_request_is_refused(what, run, images, tmp_path, small_parts, monkeypatch) -> None:
    out = tmp_path / "x.jsonl"
    with monkeypatch.context() as patch:
        cut(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            predict_many(run, images, out, batch_size=4)
    before = sorted(tmp_path.rglob("*"))
    predictor, others, options = OTHERS[what](run, images)
    with pytest.raises(InputError, match=rf"unfinished answers of another request \({what}\)"):
        predict_many(predictor, others, out, **{"batch_size": 4} | options)
    assert sorted(tmp_path.rglob("*")) == before


def test_files_of_others_are_left_alone(run, images, tmp_path, small_parts) -> None:
    out = tmp_path / "x.csv"
    out.write_text("mine")
    with pytest.raises(InputError, match=r"x.csv exists: give another path, or remove it"):
        predict_many(run, images, out)
    parts = tmp_path / "y.csv.parts"
    parts.mkdir()
    (parts / "mine").touch()
    with pytest.raises(InputError, match=r"y.csv.parts holds other files than unfinished answers"):
        predict_many(run, images, tmp_path / "y.csv")
    assert out.read_text() == "mine"
    assert list(parts.iterdir()) == [parts / "mine"]
    cut_here = tmp_path / "x.csv.parts"
    cut_here.mkdir()
    with pytest.raises(InputError, match=r"x.csv exists: give another path, or remove it"):
        predict_many(run, images, out)
    assert out.read_text() == "mine"


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_part_that_was_changed_is_refused(ending, run, images, tmp_path, small_parts, monkeypatch) -> None:
    out = tmp_path / f"x.{ending}"
    with monkeypatch.context() as patch:
        cut(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            predict_many(run, images, out, batch_size=4)
    first, second, *_ = sorted((tmp_path / f"x.{ending}.parts").glob("0*"))
    shutil.copy(first, second)
    with pytest.raises(InputError, match=rf"{re.escape(str(second))} is damaged: remove it, and run the same command"):
        predict_many(run, images, out, batch_size=4)
    second.write_bytes(first.read_bytes()[:100])
    with pytest.raises(InputError, match="is damaged"):
        predict_many(run, images, out, batch_size=4)
    second.unlink()
    predict_many(run, images, out, batch_size=4)
    assert [row["image"] for row in rows_of(out)] == files_of(images)


def test_two_processes_do_not_work_on_one_table(run, images, tmp_path) -> None:
    from keras_inception.files import locked

    with locked(tmp_path / "x.csv.parts"), pytest.raises(InputError, match="is writing"):
        predict_many(run, images, tmp_path / "x.csv")


def test_a_log_has_lines_of_progress(run, images, tmp_path, small_parts, monkeypatch, capsys) -> None:
    monkeypatch.setattr(many, "TOLD", 0.0)
    predict_many(run, images, tmp_path / "x.csv", batch_size=4)
    first, *_, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"1 of 53 images  [\d,.]+ images/s  0:00:\d\d left", first)
    assert re.fullmatch(r"53 of 53 images  [\d,.]+ images/s  0:00:00 left", last)


# --------------------------------------------------------------------------------------------------- kinds of input


def named(rows: list[dict]) -> list[str]:
    return [Path(row["image"].rpartition(": ")[2]).name for row in rows]


def test_lists(run, images, tmp_path) -> None:
    files = files_of(images)
    relative = [os.path.relpath(file, images) for file in files]
    (images / "plain.txt").write_text("\n".join(relative))
    (images / "labelled.txt").write_text("".join(f"{file} {i}\n" for i, file in enumerate(relative)))
    (images / "one_column.csv").write_text("image\n" + "\n".join(relative))
    (images / "table.csv").write_text("id;file;note\n" + "".join(f"{i};{file};x\n" for i, file in enumerate(relative)))
    (images / "lines.jsonl").write_text("".join(json.dumps({"path": file}) + "\n" for file in relative))
    (tmp_path / "absolute.tsv").write_text("file\tlabel\n" + "".join(f"{file}\tx\n" for file in files))
    lists = [*(images / name for name in ("plain.txt", "labelled.txt", "one_column.csv", "table.csv", "lines.jsonl"))]
    try:
        for i, table in enumerate([*lists, tmp_path / "absolute.tsv"]):
            predict_many(run, table, tmp_path / f"{i}.csv")
            assert [row["image"] for row in rows_of(tmp_path / f"{i}.csv")] == files, table
    finally:
        for table in lists:
            table.unlink()
    for i in range(1, 6):
        assert rows_of(tmp_path / f"{i}.csv") == rows_of(tmp_path / "0.csv")


def test_what_a_list_names_in_vain_is_a_row(run, images, tmp_path) -> None:
    (tmp_path / "list.csv").write_text(f"file\n{images / 'a' / '00.png'}\nmy cat.jpg\n{images / 'a' / '00.png'}\n")
    predict_many(run, tmp_path / "list.csv", tmp_path / "x.jsonl")
    once, gone, again = rows_of(tmp_path / "x.jsonl")
    assert once == again
    assert (gone["image"], gone["label"], gone["error"]) == ("my cat.jpg", None, "no such file")
    (tmp_path / "other.csv").write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match=r"other.csv starts with x, y: a list of images needs a column of files"):
        predict_many(run, tmp_path / "other.csv", tmp_path / "y.csv")


def test_a_list_of_addresses(run, images, tmp_path) -> None:
    names = ["00.png", "gone.png", "02.webp"]
    (tmp_path / "list.txt").write_text("".join(f"file://{images}/a/{name}\n" for name in names))
    predict_many(run, tmp_path / "list.txt", tmp_path / "x.jsonl")
    first, gone, last = rows_of(tmp_path / "x.jsonl")
    predict_many(run, [images / "a" / names[0], images / "a" / names[2]], tmp_path / "y.jsonl")
    for row, here in zip((first, last), rows_of(tmp_path / "y.jsonl"), strict=True):
        assert row["probabilities"] == pytest.approx(here["probabilities"], abs=1e-5)
    assert first["image"] == f"file://{images}/a/00.png"
    assert gone["error"] == f"there is nothing at file://{images}/a/gone.png"
    with pytest.raises(InputError, match=r"gone.png cannot be read: there is nothing at"):
        run.predict(tmp_path / "list.txt")


def test_containers(run, images, tmp_path) -> None:
    """Shards, an archive, Parquet, an address, several places at once: the same answers."""
    good = tmp_path / "good"
    shutil.copytree(images, good, ignore=shutil.ignore_patterns("cut.jpg", "empty.png", "text.jpg"))
    predict_many(run, good, tmp_path / "folder.jsonl")
    want = {Path(row["image"]).name: row["probabilities"] for row in rows_of(tmp_path / "folder.jsonl")}
    shards = write_shards(good, tmp_path / "shards", per_shard=9).path
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "good")
    files = sorted(good.rglob("*.*"))
    column = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    pq.write_table(pa.table({"image": column, "label": ["x"] * 50}), tmp_path / "given.parquet")
    several = [good / "a", *(good / "b").iterdir()]
    cases = {"shards": shards, "zip": packed, "address": f"file://{good}", "several": several}
    for name, given in cases.items():
        written = predict_many(run, given, tmp_path / f"{name}.jsonl")
        rows = rows_of(written.path)
        assert (written.images, written.unreadable) == (50, 0)
        found = dict(zip(named(rows), (row["probabilities"] for row in rows), strict=True))
        assert found.keys() == want.keys(), name
        np.testing.assert_allclose([found[key] for key in want], list(want.values()), atol=1e-5)
    assert rows_of(tmp_path / "zip.jsonl")[0]["image"] == f"{packed}/good/a/00.png"
    assert rows_of(tmp_path / "address.jsonl")[0]["image"] == f"file://{good}/a/00.png"
    predict_many(run, tmp_path / "given.parquet", tmp_path / "parquet.jsonl")
    found = [row["probabilities"] for row in rows_of(tmp_path / "parquet.jsonl")]
    np.testing.assert_allclose(found, [want[file.name] for file in files], atol=1e-5)


def test_a_link_to_a_folder_above_ends(run, images, tmp_path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(images / "a" / "00.png", tmp_path / "in")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert predict_many(run, tmp_path / "in", tmp_path / "x.csv").images == 1


def test_names_that_are_no_text(run, images, tmp_path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in (b"caf\xe9.png", b'new\nline, "quoted".png'):
        shutil.copy(images / "a" / "00.png", os.path.join(os.fsencode(folder), name))
    for ending in ("csv", "jsonl", "parquet"):
        predict_many(run, folder, tmp_path / f"x.{ending}")
        names = [row["image"] for row in rows_of(tmp_path / f"x.{ending}")]
        assert names == [f"{folder}/caf\\udce9.png", f'{folder}/new\nline, "quoted".png']


# ------------------------------------------------------------------------------------------------ kinds of predictor


WRITERS = {
    "saved_model": lambda run, path: export.to_saved_model(run, path),
    "float32.tflite": lambda run, path: export.to_tflite(run, path),
    "batch4.tflite": lambda run, path: export.to_tflite(run, path, batch=4),
    "model.onnx": lambda run, path: export.to_onnx(run, path),
    "openvino": lambda run, path: export.to_openvino(run, path),
}
NEEDS = {"model.onnx": ("tf2onnx", "onnx", "onnxruntime"), "openvino": ("openvino",)}


@pytest.mark.parametrize("name", WRITERS)
def test_exported_files(name, run, images, tmp_path) -> None:
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package)
    file = export.open_predictor(WRITERS[name](run, tmp_path / name))
    predict_many(run, images, tmp_path / "run.jsonl", batch_size=6)
    predict_many(file, images, tmp_path / "file.jsonl", batch_size=6)
    for want, found in zip(rows_of(tmp_path / "run.jsonl"), rows_of(tmp_path / "file.jsonl"), strict=True):
        assert (found["image"], found["error"]) == (want["image"], want["error"])
        assert dict(zip(found["labels"], found["probabilities"], strict=True)) == pytest.approx(
            dict(zip(want["labels"], want["probabilities"], strict=True)), abs=1e-4
        )
    with pytest.raises(InputError, match="returns no embeddings: give the run that it was exported from"):
        predict_many(file, images, tmp_path / "x.parquet", embeddings=True)
    assert file.digest() == export.open_predictor(tmp_path / name).digest() != run.digest()


def test_evaluate_counts_the_same(run, images, tmp_path) -> None:
    """The table's best classes are those that `evaluate` measures."""
    folder = tmp_path / "in"
    for i, label in enumerate(LABELS):
        (folder / label).mkdir(parents=True)
        for file in sorted((images / "a").glob("[0-9]*"))[i * 8 : i * 8 + 8]:
            shutil.copy(file, folder / label)
    predict_many(run, folder, tmp_path / "x.parquet")
    rows = rows_of(tmp_path / "x.parquet")
    right = np.mean([row["label"] == Path(row["image"]).parent.name for row in rows])
    assert right == pytest.approx(evaluate(run, folder)["top1"])
    assert load_folder(folder).classes == LABELS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "top must be a whole number of at least 1; got 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number of at least 1; got 2.5"),
        ({"shards": 3, "shard": 3}, "shard must be from 0 to 2; got 3"),
        ({"shard": 1}, "shard must be from 0 to 0; got 1"),
        ({"out": "x.txt"}, r"x.txt is no table that can be written: give a name that ends in .parquet, .csv or .jsonl"),
        ({"out": "x.csv", "embeddings": True}, r"x.csv has no column for embeddings: give a .parquet or .jsonl file"),
        ({"images": []}, "no images were given"),
    ],
)
def test_bad_arguments(options, message, run, images, tmp_path) -> None:
    arguments = {"images": images, "out": "x.csv"} | options
    with pytest.raises(InputError, match=message):
        predict_many(run, arguments.pop("images"), tmp_path / arguments.pop("out"), **arguments)
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_images(run, images, tmp_path) -> None:
    """400 images of 3 MB each as pixels, 1.2 GB together: names are kept, pixels are not."""
    large = tmp_path / "large.png"
    Image.new("RGB", (1000, 1000)).save(large)
    (tmp_path / "few.txt").write_text(f"{large}\n" * 40)
    (tmp_path / "many.txt").write_text(f"{large}\n" * 400)
    predict_many(run, tmp_path / "few.txt", tmp_path / "few.csv")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    predict_many(run, tmp_path / "many.txt", tmp_path / "many.csv")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100_000  # kB


def test_an_interruption_says_how_to_resume(run, images, tmp_path) -> None:
    out, given = tmp_path / "x.csv", tmp_path / "list.txt"
    given.write_text(f"{images / 'a' / '00.png'}\n" * 40_000)
    command = [sys.executable, "-m", "keras_inception", "predict", run.path, given, "--out", out]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("x.csv.parts/0*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert err == "error: interrupted; the same command resumes with the parts that are finished\n"
    assert list(tmp_path.glob("x.csv.parts/0*"))
