"""A training from the command line alone: `--set`, a recipe's options, `--config`, and the file that repeats a run."""

import sys
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image

from keras_inception.cli.config import FEATURES, GROUPS, changes_of, settings_of, value_of
from keras_inception.data import Shift
from keras_inception.errors import InputError
from keras_inception.preprocessing import scaled
from keras_inception.run import Run
from keras_inception.training.recipes import Exponential, Recipe, Steps


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "images"
    for i, name in enumerate(("dark", "light")):
        (root / name).mkdir(parents=True)
        for k in range(8):
            pixels = np.random.default_rng(10 * i + k).integers(0, 120, (20, 24, 3)) + 120 * i
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{k}.png")
    return root


def asked(call, monkeypatch, *arguments):
    """What `train` is called with by a command line."""
    given = {}

    def train(images, **kwargs):
        given.update(kwargs, images=images)
        raise InputError("asked")

    monkeypatch.setattr("keras_inception.training.train", train)
    code, _, err = call("train", *arguments)
    assert (code, err.splitlines()[-1]) == (1, "error: asked")
    return given


# ------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.35", 0.35),
        ("16", 16),
        ("true", True),
        ("False", False),
        ("none", None),
        ("torch", "torch"),
        ("[0.5, 0.75]", [0.5, 0.75]),
        (".5", 0.5),
        ("1e-3", 0.001),
    ],
)
def test_values(text, value) -> None:
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


def test_set_is_of_the_network_or_of_a_part_of_the_recipe() -> None:
    found = changes_of(["alpha=0.35", "numerics=torch", "optimizer.momentum=0.9", "schedule.at=[0.5]", "alpha=1"])
    assert found == {
        "options": {"alpha": 1, "numerics": "torch"},
        "arguments": {"momentum": 0.9},
        "schedule": {"at": [0.5]},
    }


@pytest.mark.parametrize("text", ["alpha", "=1", "loss.x=1", "a.b.c=1", "optimizer.=1"])
def test_set_of_another_form_is_refused(text) -> None:
    with pytest.raises(InputError, match="--set is NAME=VALUE"):
        changes_of([text])


def test_what_is_not_given_is_left_to_the_recipe(call, monkeypatch) -> None:
    given = asked(call, monkeypatch, "x", "--out", "y")
    assert not given.keys() & {f.name for f in fields(Recipe)} - {"model"}
    assert given["model"] is None


def test_every_field_of_a_recipe_has_an_option() -> None:
    import inspect

    from keras_inception.cli.training import train

    other = {"features": FEATURES, "augment": "augmentation"}
    options = {other.get(name, name) for name in inspect.signature(train).parameters}
    assert {f.name for f in fields(Recipe)} <= options | {*GROUPS.values(), "options"}


def test_none_is_said_where_it_is_meant(call, monkeypatch) -> None:
    given = asked(call, monkeypatch, "x", "--out", "y", "--ema", "none", "--patience", "none", "--clip-norm", "2")
    assert {k: given[k] for k in ("ema", "patience", "clip_norm")} == {"ema": None, "patience": None, "clip_norm": 2}


def test_changes_of_a_recipe() -> None:
    recipe = Recipe(optimizer="SGD", arguments={"momentum": 0.9}, schedule=Steps((0.3,), factor=0.5))
    assert recipe.with_changes({"arguments": {"nesterov": True}}).arguments == {"momentum": 0.9, "nesterov": True}
    other = recipe.with_changes({"optimizer": "rmsprop"})
    assert (other.optimizer, other.arguments) == ("RMSprop", {})
    assert recipe.with_changes({"schedule": {"factor": 0.2}}).schedule == Steps((0.3,), factor=0.2)
    assert recipe.with_changes({"schedule": "exponential"}).schedule == Exponential()
    assert recipe.with_changes({"schedule": {"kind": "steps", "at": [0.1, 0.2]}}).schedule == Steps((0.1, 0.2))
    assert recipe.with_changes({"augmentation": "none"}).augmentation is None
    assert recipe.with_changes({"augmentation": "shift"}).augmentation == Shift()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "alhpa=1"], "has no argument 'alhpa' that a training can set; did you mean 'alpha'?"),
        (["--set", "classes=3"], "has no argument 'classes' that a training can set; "),
        (["--set", "alpha=9"], "alpha must be a number in [0.01, 4]; got 9"),
        (["--set", "alpha=big"], "alpha must be a number in [0.01, 4]; got 'big'"),
        (["--set", "numerics=caffe"], "numerics must be 'tf' or 'torch'; got 'caffe'"),
        (["--set", "alpha"], "--set is NAME=VALUE"),
        (["--optimizer", "Adma"], "optimizer must be of keras.optimizers: "),
        (["--optimizer", "adam", "--set", "optimizer.momentum=0.9"], "Adam of keras.optimizers with {'momentum': 0.9}"),
        (["--schedule", "cosinus"], "unknown schedule 'cosinus'; there are cosine, exponential, steps, polynomial"),
        (
            ["--schedule", "steps", "--set", "schedule.power=2"],
            "schedule Steps has no power; it has at, factor, warmup",
        ),
        (["--schedule", "steps", "--set", "schedule.at=2"], "at must be fractions of the training, in order; got 2"),
        (["--label-smoothing", "1.5"], "label_smoothing must be a number from 0 to less than 1; got 1.5"),
        (["--ema", "2"], "ema must be a number from 0 to less than 1, or None; got 2"),
        (["--patience", "1.5"], "patience must be a positive integer, or None; got 1.5"),
        (["--precision", "half"], "precision must be float32, mixed_float16, mixed_bfloat16 or auto; got 'half'"),
        (["--decayed", "some"], "decayed must be 'kernels' or 'all' or 'kernels but depthwise'; got 'some'"),
    ],
)
def test_what_cannot_be_is_one_line(call, images, tmp_path, options, message) -> None:
    code, out, err = call("train", images, "--out", tmp_path / "x", "--model", "mobilenet_v2", *options)
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "x").exists()


# ------------------------------------------------------------------------------------------------------------ the file


def test_the_command_line_wins_over_the_file(call, monkeypatch, tmp_path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(
        'images = "here"\nout = "there"\nepochs = 3\nbatch-size = 4\nema = "none"\nflip = false\nschedule = "steps"\n'
        '[set]\nalpha = 0.35\nse_ratio = 16\nschedule.factor = 0.2\noptimizer.beta_1 = 0.8\n'
    )  # fmt: skip
    given = asked(call, monkeypatch, "--config", file)
    assert (given["images"], str(given["out"]), given["epochs"], given["batch_size"]) == ("here", "there", 3, 4)
    assert given["schedule"] == {"kind": "steps", "factor": 0.2}
    assert given["augmentation"] == ["flip=false"]
    assert given["arguments"] == {"beta_1": 0.8}
    assert given["options"] == {"alpha": 0.35, "se_ratio": 16}
    assert given["ema"] is None
    more = ("--epochs", "5", "--set", "alpha=1.0", "--schedule", "cosine", "--set", "optimizer.beta_2=0.9")
    given = asked(call, monkeypatch, "elsewhere", "--config", file, *more)
    assert (given["images"], given["epochs"], given["schedule"]) == ("elsewhere", 5, "cosine")
    assert given["options"] == {"alpha": 1.0, "se_ratio": 16}
    assert given["arguments"] == {"beta_1": 0.8, "beta_2": 0.9}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "a.toml cannot be read: No such file or directory"),
        ("epochs: 3", "a.toml is not a TOML file: "),
        ("epohcs = 3", "a.toml has 'epohcs', which is no option; did you mean epochs?"),
        ("[recipe]\nepochs = 3", "a.toml: only `set` is a table; got recipe = {'epochs': 3}"),
        ("set = 3", "a.toml: only `set` is a table; got set = 3"),
        ("[set]\nloss.x = 3", "--set is NAME=VALUE"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(call, tmp_path, text, message) -> None:
    if text is not None:
        (tmp_path / "a.toml").write_text(text)
    code, _, err = call("train", "x", "--out", tmp_path / "x", "--config", tmp_path / "a.toml")
    assert code == 1
    assert message in err
    assert err.count("\n") == 1


RUNS = {
    "plain": ("--model", "lenet5", "--weights", "none"),
    "a paper's, changed": (
        *("--model", "shufflenet_v1", "--recipe", "shufflenet", "--batch-size", "8", "--size", "32"),
        *("--set", "groups=2", "--augment", "area=0.9", "--no-flip", "--schedule", "steps", "--ema", "0.9"),
        *("--set", "schedule.at=[0.5]", "--optimizer", "rmsprop", "--set", "optimizer.rho=0.8"),
        *("--label-smoothing", "0"),
        *("--resize", "letterbox", "--fill", "0,128,255", "--validation", "0.3", "--test", "0.2", "--seed", "3"),
    ),
    "with what a training decides by itself": (
        *("--model", "lenet5", "--weights", "none", "--batch-size", "auto", "--precision", "auto", "--jit"),
    ),
    "without augmentation and patience": (
        *("--model", "lenet5", "--recipe", "from_scratch", "--patience", "none", "--augment", "none"),
        *("--weight-decay", "1e-4", "--decayed", "all", "--clip-norm", "1", "--crop", "1", "--no-features"),
    ),
}  # fmt: skip


@pytest.fixture
def requested(call, monkeypatch):
    """The request of a command line, which is not trained."""

    def requested(*arguments):
        with monkeypatch.context() as patch:
            jobs = []

            def stop(job):
                jobs.append(job)
                raise InputError("enough")

            patch.setattr(sys.modules["keras_inception.training.train"], "_start", stop)
            code, _, err = call("train", *arguments)
        assert (code, err.splitlines()[-1]) == (1, "error: enough")
        return jobs[0].request

    return requested


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_the_file_of_a_run_asks_for_the_same(call, requested, images, tmp_path, options) -> None:
    first = requested(images, "--epochs", "1", *options, "--out", tmp_path / "x")
    (tmp_path / "run").mkdir()
    first.finished(tmp_path / "run", validation={}, test=None).save()
    code, out, _ = call("config", tmp_path / "run")
    assert code == 0
    (tmp_path / "a.toml").write_text(out)
    second = requested("--config", tmp_path / "a.toml", "--out", tmp_path / "x")
    assert first.to_dict() == second.to_dict()


def test_the_file_of_a_run_trains_it_again(call, images, tmp_path) -> None:
    options = ("--model", "lenet5", "--epochs", "1", "--set", "optimizer.beta_1=0.8", "--test", "0.2")
    code, _, err = call("train", images, *options, "--out", tmp_path / "first")
    assert code == 0, err
    (tmp_path / "a.toml").write_text(call("config", tmp_path / "first")[1])
    code, _, err = call("train", "--config", tmp_path / "a.toml", "--out", tmp_path / "second")
    assert code == 0, err
    first, second = (vars(Run.load(tmp_path / name)) for name in ("first", "second"))
    assert first | {"path": None} == second | {"path": None}  # with the metrics


def test_the_file_of_a_run_that_starts_from_a_run(call, requested, images, tmp_path) -> None:
    before = requested(images, "--model", "lenet5", "--out", tmp_path / "x")
    (tmp_path / "before").mkdir()
    before.finished(tmp_path / "before", validation={}, test=None).save()
    first = requested(images, "--epochs", "2", "--weights", tmp_path / "before", "--out", tmp_path / "x")
    settings = settings_of(first.finished(tmp_path, validation={}, test=None))
    assert settings["weights"] == str(tmp_path / "before")
    assert settings["freeze_epochs"] == 1


def test_a_run_without_a_record_of_its_training(call, tmp_path) -> None:
    Run(builder="lenet5", kwargs={}, labels=("a", "b"), preprocessing=scaled((32, 32), 1), path=tmp_path).save()
    code, _, err = call("config", tmp_path)
    assert code == 1
    assert err == f"error: {tmp_path} has no record of its training, so it cannot be repeated\n"
