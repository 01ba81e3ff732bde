"""The request: what is resolved, compared and refused before anything is built or written."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_inception import report
from keras_inception.data import Augmentation, from_arrays
from keras_inception.errors import InputError
from keras_inception.preprocessing import scaled
from keras_inception.registry import get
from keras_inception.run import Run
from keras_inception.training import TrainingRequest, train
from keras_inception.training.recipes import Recipe, Steps
from keras_inception.training.request import resolve
from keras_inception.training.state import TrainingState


def images(kinds: int = 2, shade: int = 150):
    rng = np.random.default_rng(kinds)
    pixels = rng.integers(0, 80, (12 * kinds, 32, 32))
    pixels[:12, ::4] += shade
    return from_arrays(pixels.astype(np.uint8), np.repeat(range(kinds), 12), ["across", "noise", "third"][:kinds])


SETTINGS = {"model": "lenet5", "epochs": 2, "batch_size": 12, "augmentation": None}


def cut_after_one_epoch(monkeypatch) -> None:
    save = TrainingState.save

    def cut(self, *args, **kwargs):
        save(self, *args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingState, "save", cut)


def unfinished(monkeypatch, data, out: Path, **changes) -> None:
    with monkeypatch.context() as patch:
        cut_after_one_epoch(patch)
        with pytest.raises(KeyboardInterrupt):
            train(data, out=out, **SETTINGS | changes)


@pytest.fixture(scope="module")
def half_done(tmp_path_factory) -> Path:
    """A training that was interrupted after its first epoch; whoever resumes it takes a copy."""
    place = tmp_path_factory.mktemp("unfinished") / "x"
    with pytest.MonkeyPatch.context() as patch:
        unfinished(patch, images(), place)
    return place


def folder(place: Path, shift: int = 0) -> Path:
    for i, name in enumerate(("cat", "dog")):
        (place / name).mkdir(parents=True)
        for k in range(8):
            pixels = np.random.default_rng(10 * i + k + shift).integers(0, 120, (20, 20, 3)) + 120 * i
            Image.fromarray(pixels.astype(np.uint8)).save(place / name / f"{k}.png")
    return place


# ---------------------------------------------------------------------------------------------------- the run directory


@pytest.mark.parametrize("there", ["checkpoints/epoch_07.keras", "training_state/state.json", "train.py"])
def test_a_folder_of_somebody_else_is_refused_and_untouched(there, tmp_path) -> None:
    """Keras' own names for checkpoints included, and a state.json of another program."""
    files = {there: b"mine", "checkpoints/best.keras": b"mine too", "training_state/epoch_1.keras": b"and this"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="neither empty nor an unfinished run of ours; give another --out"):
        train(images(), out=tmp_path, **SETTINGS)
    found = {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == files


def test_an_unfinished_run_is_taken_and_only_its_own_files_go(half_done, tmp_path) -> None:
    shutil.copytree(half_done, tmp_path / "x")
    mine = tmp_path / "x" / "training_state" / "notes.txt"
    mine.write_text("a user's own")
    train(images(), out=tmp_path / "x", **SETTINGS)
    assert mine.read_text() == "a user's own"
    assert not list((tmp_path / "x").rglob("epoch_*"))


def test_interrupted_in_the_first_epoch_the_folder_is_ours(tmp_path, monkeypatch) -> None:
    """Nothing is saved yet, and the same command still resumes."""
    with monkeypatch.context() as patch:
        patch.setattr("keras_inception.training.loop.reseed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(images(), out=tmp_path / "x", **SETTINGS)
    with pytest.raises(InputError, match="was interrupted before it finished"):
        Run.load(tmp_path / "x")
    assert train(images(), out=tmp_path / "x", **SETTINGS).metrics["n"] > 0


def test_two_trainings_into_one_directory(tmp_path) -> None:
    """One trains, the other is refused in a line that names the process, and costs nothing."""
    place = folder(tmp_path / "images")
    script = "import sys; from keras_inception.cli import main; main()"
    words = ["train", place, "--model", "lenet5", "--epochs", "3", "--out", tmp_path / "x"]
    environment = os.environ | {"KERAS_INCEPTION_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", script, *map(str, words)]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, env=environment, **streams) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 1], [0, 0]), said  # [0, 0] would need the second to start after the first has ended
    refused = next(text for text, process in zip(said, both, strict=True) if process.returncode)
    assert "Traceback" not in refused
    assert "process" in refused or "holds a finished run" in refused
    assert Run.load(tmp_path / "x").model()


# ------------------------------------------------------------------------------------------------------------ resuming


def test_other_images_or_another_split_are_not_resumed(tmp_path, monkeypatch) -> None:
    first, second = folder(tmp_path / "first"), folder(tmp_path / "second", shift=100)
    unfinished(monkeypatch, first, tmp_path / "x")
    for data, more in ((second, {}), (first, {"validation": 0.5}), (first, {"test": 0.3})):
        with pytest.raises(InputError, match="unfinished training with other images, or another split of them"):
            train(data, out=tmp_path / "x", **SETTINGS, **more)
    first.rename(tmp_path / "moved")
    (tmp_path / "moved" / "cat" / "0.png").rename(tmp_path / "moved" / "cat" / "renamed.png")
    assert train(tmp_path / "moved", out=tmp_path / "x", **SETTINGS).data["folder"] == str(tmp_path / "moved")


def test_a_training_begun_before_there_were_test_images_resumes(half_done, tmp_path) -> None:
    shutil.copytree(half_done, tmp_path / "x")
    file = tmp_path / "x" / "training_state" / "state.json"
    state = json.loads(file.read_text())
    del state["request"]["data"]["test"], state["request"]["data"]["test_share"]
    file.write_text(json.dumps(state))
    assert train(images(), out=tmp_path / "x", **SETTINGS).measured_on == "validation"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "squeezenet1_1", "size": 64}, "unfinished training with network 'lenet5', not 'squeezenet1_1'"),
        ({"seed": 3}, "unfinished training with seed 0, not 3"),
        (
            {"epochs": 9},
            r"with epochs 2, not 9 \(the learning rate follows .* --weights\): repeat",
        ),
        ({"balance": True}, "unfinished training with balance False, not True"),
        ({"augmentation": Augmentation()}, "unfinished training with augmentation None, not"),
    ],
)
def test_what_differs_is_named(half_done, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        train(images(), out=half_done, **SETTINGS | changes)


@pytest.mark.parametrize("name", ["epoch_1.keras", "best_1.keras"])
@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_damaged_state_says_what_to_do(half_done, tmp_path, monkeypatch, name, damage) -> None:
    shutil.copytree(half_done, tmp_path / "x")
    file = tmp_path / "x" / "training_state" / name
    content = file.read_bytes()
    file.unlink() if damage == "missing" else file.write_bytes(content[:500])
    if name == "best_1.keras":  # needed when the best epoch is the first
        monkeypatch.setattr(TrainingState, "is_best", lambda *_: False)
        monkeypatch.setattr(TrainingState, "best", lambda *_: 0)
    with pytest.raises(InputError, match=r"missing or damaged, so the training cannot be resumed: delete .*state"):
        train(images(), out=tmp_path / "x", **SETTINGS)


def test_checkpoints_are_emptied_before_they_are_deleted(tmp_path, monkeypatch) -> None:
    """Or they fill the bin of a Google Drive; none is replaced, which would put it there too."""
    deleted, unlink, replace = {}, Path.unlink, Path.replace
    size = lambda path: path.stat().st_size if path.exists() else 0  # noqa: E731
    monkeypatch.setattr(
        Path, "unlink", lambda self, **kw: (deleted.update({self.name: size(self)}), unlink(self, **kw))
    )
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (deleted.update({f"old {to.name}": size(Path(to))}), replace(self, to))
    )
    state = TrainingState(tmp_path / "state")
    state.open({}, lambda other: None)
    for epoch, better in enumerate((True, False, True, True)):
        if better:
            state.keep("best.keras", lambda part: part.write_bytes(bytes(1000)))
        row = {"val_accuracy": float(epoch), "val_loss": 0.0}
        state.save(lambda part: part.write_bytes(bytes(3000)), row, suffix=".keras")
        again = TrainingState(tmp_path / "state")  # what a killed process leaves at any time
        again.open({}, lambda other: None)
        assert size(again.last) == 3000
        assert size(again.path("best.keras")) == 1000
    found = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert found == ["best_4.keras", "epoch_4.keras", "state.json"]
    state.clear()
    assert {name for name, count in deleted.items() if count} == {"old state.json"}
    assert {"best_1.keras", "best_3.keras", "best_4.keras", "epoch_1.keras", "epoch_4.keras"} <= set(deleted)
    assert not (tmp_path / "state").exists()


def test_what_a_killed_process_was_writing_is_deleted(tmp_path) -> None:
    state = TrainingState(tmp_path / "state")
    state.open({}, lambda other: None)
    (tmp_path / "state" / ".part.0123abcd.epoch_2.keras").write_text("half of it")
    (tmp_path / "state" / "notes.txt").write_text("mine")
    TrainingState(tmp_path / "state").open({}, lambda other: None)
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["notes.txt", "state.json"]


# -------------------------------------------------------------------------------------------------- starting from a run


def run_of(place: Path, name: str, **arguments) -> Run:
    """A run of an untrained network: what matters here is the record."""
    kwargs = {"input_shape": [32, 32, 3], "classes": 2} | arguments
    network = get(name).build(**kwargs)
    place.mkdir()
    network.save(place / "model.keras")
    run = Run(builder=name, kwargs=kwargs, labels=("a", "b"), preprocessing=scaled((32, 32)), path=place)
    run.save()
    return run


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory) -> Run:
    """A run of a network with arguments of its own."""
    return run_of(tmp_path_factory.mktemp("runs") / "half", "mobilenet_v2", alpha=0.35)


def resolved(data, **arguments) -> TrainingRequest:
    common = {"images": data, "validation": 0.2, "test": 0.0, "recipe": None, "model": None, "weights": None,
              "size": None, "resize": None, "fill": None, "seed": 0, "changes": {"epochs": 2}}  # fmt: skip
    return resolve(data, **common | arguments)


def test_a_run_brings_its_network_with_all_arguments(shuffled) -> None:
    request = resolved(images(3), weights=shuffled.path)
    assert (request.network, request.arguments["alpha"]) == ("mobilenet_v2", 0.35)
    assert request.arguments["input_shape"] == [32, 32, 3]
    network, trained = request.build(), shuffled.model()
    assert network.output_shape == (None, 3)
    for layer in trained.layers:
        if layer.weights and layer.name != "logits":
            assert all(map(np.array_equal, layer.get_weights(), network.get_layer(layer.name).get_weights()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "shufflenet_v2"}, r"half is a run of mobilenet_v2; got model 'shufflenet_v2'"),
        ({"recipe": "resnet_cifar"}, r"half is a run of mobilenet_v2; got recipe 'resnet_cifar', which is of resnet"),
        ({"changes": {"options": {"alpha": 1.0}}}, r"half was trained with alpha=0.35; got 1.0"),
        ({"changes": {"options": {"numerics": "torch"}}}, r"half was trained with numerics='tf'; got 'torch'"),
    ],
)
def test_a_run_of_another_network_is_refused(shuffled, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        resolved(images(), weights=shuffled.path, **changes)


def test_what_only_training_uses_may_differ(shuffled) -> None:
    request = resolved(images(), weights=shuffled.path, changes={"options": {"dropout": 0.4}})
    assert request.arguments["dropout"] == 0.4


def test_numerics_of_the_weights_stay(tmp_path) -> None:
    run = run_of(tmp_path / "torch", "mobilenet_v2", alpha=0.35, numerics="torch")
    again = resolved(images(3), weights=run.path).build()
    assert {x.epsilon for x in again.layers if isinstance(x, keras.layers.BatchNormalization)} == {1e-5}


@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
def test_the_resize_mode_of_a_run_is_the_default_of_what_starts_from_it(mode, shuffled, tmp_path) -> None:
    assert resolved(images(3), weights=shuffled.path).preprocessing.resize_mode == "crop"
    assert resolved(images(), model="lenet5").preprocessing.resize_mode == "crop"
    first = train(images(), out=tmp_path / "first", resize=mode, **SETTINGS | {"epochs": 1})
    assert (first.preprocessing.resize_mode, first.preprocessing.crop) == (mode, 1.0)
    assert Run.load(first.path).preprocessing == first.preprocessing
    assert f"pixels ({mode})" in (first.path / "report.html").read_text(encoding="utf-8")
    assert resolved(images(3), weights=first.path).preprocessing == first.preprocessing
    other = resolved(images(3), weights=first.path, resize="letterbox", fill=(0, 128, 255)).preprocessing
    assert (other.resize_mode, other.fill) == ("letterbox", (0.0, 128.0, 255.0))
    assert resolved(images(3), weights=first.path, resize="crop").preprocessing.fill is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resize": "pad"}, "resize must be 'crop', 'stretch' or 'letterbox'; got 'pad'"),
        ({"resize": "stretch", "fill": 0}, "fill is for resize 'letterbox'"),
        ({"resize": "stretch", "changes": {"crop": 0.9}}, "crop is for resize 'crop'; 'stretch' keeps the whole image"),
    ],
)
def test_a_resize_that_cannot_be_is_refused(arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        resolved(images(), model="lenet5", **arguments)


def test_a_recipes_crop_gives_way_to_whole_images() -> None:
    request = resolved(images(), recipe=Recipe(model="lenet5", crop=0.875), resize="letterbox")
    assert request.preprocessing.crop == 1.0


def test_another_mode_is_another_training_and_an_older_record_the_same(half_done, tmp_path) -> None:
    shutil.copytree(half_done, tmp_path / "x")
    with pytest.raises(InputError, match="resize_mode 'crop', not 'stretch'"):
        train(images(), out=tmp_path / "x", resize="stretch", **SETTINGS)
    file = tmp_path / "x" / "training_state" / "state.json"
    state = json.loads(file.read_text())
    for field in ("resize_mode", "fill"):
        del state["request"]["preprocessing"][field]
    file.write_text(json.dumps(state))
    train(images(), out=tmp_path / "x", **SETTINGS)


def test_an_unfinished_run_is_no_start(half_done) -> None:
    with pytest.raises(InputError, match="was interrupted before it finished"):
        resolved(images(), weights=half_done)


# ------------------------------------------------------------------------------------------------------------- as data


def test_a_request_survives_json(shuffled) -> None:
    changes = {"schedule": Steps((0.5, 0.75)), "augmentation": Augmentation(area=0.3), "options": {"alpha": 0.35}}
    for request in (
        resolved(images(), model="mobilenet_v2", size=32, changes=changes),
        resolved(images(3), weights=shuffled.path, recipe=Recipe(model="mobilenet_v2", ema=0.9)),
    ):
        again = TrainingRequest.from_dict(json.loads(json.dumps(request.to_dict())))
        assert again.to_dict() == request.to_dict()
        assert again.difference(request.to_dict()) is None
        assert again.recipe == request.recipe


def test_one_build_and_a_report_that_costs_nothing(tmp_path, monkeypatch, capfd) -> None:
    def broken(*_, **__):
        raise RuntimeError("no font")

    built, build = [], TrainingRequest.build
    monkeypatch.setattr(TrainingRequest, "build", lambda self: (built.append(1), build(self))[1])
    monkeypatch.setattr(report, "page", broken)
    run = train(images(), out=tmp_path / "x", **SETTINGS | {"epochs": 1})
    assert len(built) == 1
    assert Run.load(run.path) == run
    assert "the report could not be drawn (no font)" in capfd.readouterr().err
    with pytest.raises(InputError, match=r"was trained on arrays or tf.data, which it does not keep: give images"):
        run.images("train")
    file = run.path / "model.keras"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"model\.keras cannot be loaded; it is damaged"):
        run.model()


# ------------------------------------------------------------------------------------------------- the images of a run


def test_the_images_of_a_run_that_moved(tmp_path) -> None:
    place = folder(tmp_path / "images")
    run = train(place, out=tmp_path / "x", **SETTINGS | {"epochs": 1})
    held_out = run.images("held_out")
    assert len(held_out) + len(run.images("train")) == 16
    place.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"are no longer at .*images: give their folder \(--images DIR\)"):
        run.images("held_out")
    assert len(run.images("held_out", tmp_path / "elsewhere")) == len(held_out)  # the same images, split as they were
    shutil.rmtree(tmp_path / "elsewhere" / "dog")
    assert len(run.images("held_out", tmp_path / "elsewhere")) == 8  # others: all of them
    with pytest.raises(InputError, match='the sides of a split are "train", "val", "test" and "held_out"; got \'x\''):
        run.images("x")


def test_the_images_of_each_side_of_a_run(tmp_path) -> None:
    place = folder(tmp_path / "images")
    run = train(place, out=tmp_path / "x", test=0.3, **SETTINGS | {"epochs": 1})
    sides = {side: set(run.images(side).sources) for side in ("train", "val", "test")}
    assert sum(map(len, sides.values())) == 16 == len(set.union(*sides.values()))
    assert run.metrics["n"] == len(sides["test"])
    assert set(run.images("held_out").sources) == sides["test"]
    moved = place.rename(tmp_path / "moved")
    assert {file.name for file in run.images("test", moved).sources} == {file.name for file in sides["test"]}
    (moved / "cat" / "0.png").unlink()
    assert len(run.images("test", moved)) == 15  # others: all of them
    for side in ("train", "val"):
        shutil.copytree(moved, tmp_path / "split" / side)
    assert set(run.images("train", tmp_path / "split").sources) == set((tmp_path / "split" / "train").rglob("*.png"))
    assert str(run.images("held_out", tmp_path / "split")) == "15 validation images"
    plain = train(tmp_path / "split", out=tmp_path / "y", **SETTINGS | {"epochs": 1})
    with pytest.raises(InputError, match="was trained without test images: name some test/, or train with --test"):
        plain.images("test")
