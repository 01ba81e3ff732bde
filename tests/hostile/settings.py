"""Values and files that the command line is given."""

from functools import partial
from pathlib import Path

from .images import classes
from .judge import Case, command

TRAIN = ("--model", "lenet5", "--weights", "none", "--epochs", "1")
VALUES = {  # option of `train` -> a value that cannot be -> what a line about it has; None: the parser refuses it
    "--epochs": {"0": "epochs", "-1": "epochs", "x": None, "1e9": None, "": None, "nan": None, "9" * 400: "epochs"},
    "--batch-size": {"0": "batch_size", "-1": "batch_size", "x": None, "1.5": None},
    "--learning-rate": {"nan": "learning_rate", "inf": "learning_rate", "-1": "learning_rate", "x": None},
    "--size": {"0": "0", "-1": "-1", "x": None, "1": "1 x 1"},
    "--validation": {"0": "0", "1": "1", "-1": "-1", "nan": "nan", "inf": "inf", "x": None},
    "--test": {"1": "1", "-1": "-1", "nan": "nan", "inf": "inf", "x": None},
    "--resize": {"zoom": "zoom", "x" * 1000: "resize"},
    "--fill": {"red": "red", "1,2": "[1.0, 2.0]", "-1": "-1", "nan": "nan"},
    "--augment": {"x": "x", "mixup=x": "mixup", "mixup=-1": "mixup", "mixup=nan": "mixup"},
    "--model": {"lenet": "lenet", "../lenet5": "lenet5", "x\ny": "x\ny"},
    "--weights": {"x": "x", "/dev/zero": "/dev/zero", "hf://": "hf://", "x\ny": "x\ny", "nowhere.h5": "nowhere.h5"},
    "--teacher": {"x": "x", "/dev/zero": "/dev/zero", "nowhere.keras": "nowhere.keras"},
    "--recipe": {"x": "x"},
    "--set": {"x": "x", "=": "=", "x=1": "x", "optimizer.x=1": "x", "schedule.x=1": "x", "a.b.c=1": "a.b.c"},
    "--strategy": {"x": "x"},
    "--track": {"x": "x"},
    "--time": {"x": "x", "-1s": "-1s", "nan": "nan"},
    "--k-fold": {"1": "1", "-1": "-1", "x": None},
    "--seed": {"x": None, "-1": "seed"},
    "--nothing": {"x": None},
}
FILES = {
    "empty names": '"" = 1',
    "an option twice": "epochs = 1\nepochs = 2",
    "an array": "epochs = [1]",
    "a date": "epochs = 1979-05-27",
    "a table": "[epochs]\nx = 1",
    "text": 'epochs = "many"',
    "infinity": "learning_rate = inf",
    "NaN": "validation = nan",
    "a number of 400 digits": "epochs = " + "9" * 400,
    "nested arrays": "x = " + "[" * 10_000 + "]" * 10_000,
    "nested tables": "set" + ".x" * 5_000 + " = 1",
    "itself": 'config = "x.toml"',
    "null bytes": "\0\0",
    "a table of set that is deep": "[set.optimizer.x.y]\nz = 1",
    "a set of dates": "[set]\nx = 1979-05-27",
}


NAMED = {  # what a line about the value names, where it is not the file
    **{"infinity": "learning_rate", "NaN": "validation", "a number of 400 digits": "epochs"},
    **{"a table of set that is deep": "optimizer.x.y.z", "a set of dates": "'x'"},
}


def valued(option: str, value: str, path: Path, out: Path) -> None:
    command("train", path, "--out", out / "run", *TRAIN, f"{option}={value}")


def configured(path: Path, out: Path) -> None:
    command("train", path.parent / "images", "--out", out / "run", *TRAIN[:4], "--config", path)


def with_file(text: bytes, folder: Path) -> Path:
    (folder / "images").mkdir()
    classes(folder / "images")
    (folder / "x.toml").write_bytes(text)
    return folder / "x.toml"


CASES = [
    *(
        Case(f"train {option}={value[:20]!r}", classes, partial(valued, option, value), names=words or option, lines=6)
        for option, values in VALUES.items()
        for value, words in values.items()
    ),
    *(
        Case(
            f"train --config: {name}",
            partial(with_file, text.encode()),
            configured,
            names=NAMED.get(name, "x.toml"),
            lines=6,
        )
        for name, text in FILES.items()
    ),
    Case("train --config: not UTF-8", partial(with_file, b"\xff\xfe"), configured),
]
