"""A training as a file: `train --config FILE` reads it, `config RUN` prints it; and what `--set NAME=VALUE` means."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w
import typer

from ..errors import InputError, first_line
from .app import RunPath, app
from .output import say

if TYPE_CHECKING:
    from ..run import Run

AUTO = "auto"
NONE = "none"  # how the command line and files, which lack None, write it
GROUPS = {"optimizer": "arguments", "schedule": "schedule"}  # prefix -> recipe's field
FEATURES = "cache_features"  # the field of a recipe whose option has another name: --features


@app.command()
def config(run_path: RunPath) -> None:
    """Print the file for `train --config FILE` that trains a run again."""
    from ..run import Run

    say(text_of(Run.load(run_path)).rstrip())


def text_of(run: Run) -> str:
    """The file that `train --config` reads.

    Raises:
        InputError: the run has no record of its training, or a damaged one.
    """
    if not {"schedule", "start"} <= run.training.keys():
        raise InputError(f"{run.path} has no record of its training, so it cannot be repeated")
    try:
        return tomli_w.dumps(settings_of(run))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"the training in {run.path / 'run.json'} is damaged ({error!r:.80}): restore it") from error


def settings_of(run: Run) -> dict[str, Any]:
    """The options of `train` that made a run, by name, with `set` as a table."""
    from ..data.presets import words_of
    from ..training.recipes import Recipe

    known = {f.name for f in fields(Recipe)}
    asked = Recipe.from_dict({k: v for k, v in run.training.items() if k in known})
    recipe = asked.to_dict()
    schedule = recipe.pop("schedule")
    del recipe["augmentation"]
    preprocessing = run.preprocessing
    height, width = preprocessing.size
    if preprocessing.resize_mode != "crop":
        del recipe["crop"]  # which has no effect then
    sets = recipe.pop("options") | {
        "optimizer": recipe.pop("arguments"),
        "schedule": {k: v for k, v in schedule.items() if k != "kind"},
    }
    optional = {  # None: left out
        "images": run.data.get("folder"),
        "recipe": run.training.get("recipe"),
        "teacher": (run.training.get("teacher") or {}).get("weights"),
        "size": height if height == width else None,
        "k-fold": len(run.folds) or None,
        "jit": recipe.pop("jit"),
        "fill": preprocessing.fill and ",".join(map(str, preprocessing.fill)),
    }
    settings = {
        "weights": run.training["start"]["weights"],
        "resize": preprocessing.resize_mode,
        **run.shares,
        "seed": run.training["seed"],
        "schedule": schedule["kind"],
        "augment": words_of(asked.augmentation),
        "features": recipe.pop(FEATURES),
        **recipe,
        "model": run.builder,
        "set": sets,
    }
    return {k: v for k, v in optional.items() if v is not None} | _with_none(settings)


def _with_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _with_none(v) for k, v in value.items()}
    return NONE if value is None else value


# ------------------------------------------------------------------------------------------------------------- reading


def read(context: typer.Context, path: Path | None) -> Path | None:
    """The callback of `--config`: the file's values become the defaults of the command's options.

    Raises:
        InputError: it is no TOML file, or has a name that is no option.
    """
    if path is None:
        return None
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # of TOML, or of UTF-8; or it is nested too deeply
        raise InputError(f"{path} is not a TOML file: {first_line(error)}") from None
    options = {opt.lstrip("-"): p.name for p in context.command.params for opt in p.opts if p.name != "config_path"}
    defaults: dict[str, Any] = {}
    for name, value in settings.items():
        if (option := name.replace("_", "-")) not in options:
            near = difflib.get_close_matches(option, options, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has the options of `{context.command.name} --help`"
            raise InputError(f"{path} has {name!r}, which is no option; {hint}")
        if (option == "set") != isinstance(value, dict):
            raise InputError(f"{path}: only `set` is a table; got {name} = {value!r}")
        if option == "set":
            try:
                context.obj = list(_assignments(value))  # to which `--set` adds
            except RecursionError:
                raise InputError(f"{path}: set is nested too deeply; it has names, and tables of names") from None
        else:
            defaults[options[option] or ""] = value
    context.default_map = defaults
    return path


def _assignments(table: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    """A table as `--set` has it: "alpha=0.35", "schedule.at=[0.5, 0.75]"."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _assignments(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={value if isinstance(value, str) else json.dumps(value, default=str)}"


def all_sets(context: typer.Context, given: Iterable[str] | None) -> list[str]:
    """The file's assignments, then those `given`; not those of the file's optimizer or schedule if others are."""
    file = context.default_map or {}
    others = [f"{name}." for name in ("optimizer", "schedule") if context.params[name] != file.get(name)]
    return [text for text in context.obj or () if not text.startswith(tuple(others))] + list(given or ())


def changes_of(assignments: Iterable[str]) -> dict[str, Any]:
    """What `--set` asks for, as changes of a recipe: "alpha=0.35" for the network, "optimizer.momentum=0.9".

    Raises:
        InputError: one is not of that form.
    """
    changes: dict[str, dict[str, Any]] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        group, dot, key = name.strip().rpartition(".")
        if not equals or not key or (dot and group not in GROUPS):
            raise InputError(
                f"--set is NAME=VALUE, with NAME the network's or {'.NAME, '.join(GROUPS)}.NAME; got {text!r}"
            )
        changes.setdefault(GROUPS[group] if dot else "options", {})[key] = value_of(value.strip())
    return changes


def merged(changes: dict[str, Any], sets: dict[str, Any]) -> dict[str, Any]:
    """Both together: {"schedule": "steps"} and {"schedule": {"factor": 0.2}} are the arguments of that schedule."""
    both = changes | sets
    for name in changes.keys() & sets.keys():
        both[name] = ({"kind": changes[name]} if isinstance(changes[name], str) else changes[name]) | sets[name]
    return both


def value_of(text: str) -> Any:
    """A value as the command line has it: true, false, none, a number, a list as [0.1, 0.2], or else text."""
    words = {NONE: None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float, json.loads):
        with suppress(ValueError):
            return kind(text)
    return text


def number_or_none(text: str) -> float | str:
    """A number, or "none": Typer takes None for an option that is not given."""
    if str(text).lower() == NONE:
        return NONE
    try:
        value = float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a number nor {NONE}") from None
    return int(value) if value.is_integer() else value


def number_or_auto(text: str) -> int | str:
    """A number of images, or "auto"."""
    if str(text).lower() == AUTO:
        return AUTO
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a number nor {AUTO}") from None
