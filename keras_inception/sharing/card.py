"""The model card of a run: what it is, how well it does on which images, and how to use it, from `run.json`."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .. import hub
from ..data.augmentation import from_record
from ..data.presets import words_of
from ..errors import InputError
from ..registry import get
from ..run import Run
from ..weights.download import addresses
from ..weights.publishers import find
from ..weights.record import Checkpoint

HOME = "https://github.com/keras-inception/keras_inception"
INSTALL = f'pip install "keras-inception[hub] @ git+{HOME}"'
MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~])")  # what has a meaning there
SHOWN = 100  # class names
METRICS = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "loss": "loss"}
LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")
TFDS = "tfds:"


def base_of(run: Run) -> Checkpoint | None:
    """The published weights that the training started from; None for random ones, a file or another run."""
    start = run.training.get("start") or {}
    if not start.get("weights") or start.get("digest") or start.get("is_run"):
        return None
    try:
        return find(start["network"], start["weights"])
    except InputError:  # of a newer version
        return None


def licence_of(run: Run, given: str | None) -> str:
    """The hub's identifier of the model's licence, "apache-2.0": the given one, or that of the weights it came from.

    Raises:
        InputError: none is given, and the weights are not published ones; or it is no identifier.
    """
    base = base_of(run)
    if given is None and base is None:
        raise InputError(
            "the licence of these weights is yours to choose: give it, --licence apache-2.0, mit, cc-by-4.0 or another "
            "identifier of the hub"
        )
    licence = (given or identifier(base.license if base else "")).lower()
    if not LICENCE.fullmatch(licence):
        raise InputError(f"a licence is one of the hub's identifiers, as apache-2.0, mit or cc-by-4.0; got {given!r}")
    return licence


def identifier(licence: str) -> str:
    """The hub's identifier of a licence as a checkpoint states it: "MIT (facenet-pytorch; ...)" is "mit".

    One that has no identifier, "non-commercial use only", is "other".
    """
    name = licence.partition(" (")[0].lower()
    return name if LICENCE.fullmatch(name) else "other"


def card(run: Run, address: hub.Address, licence: str, files: Iterable[str]) -> str:
    """The content of README.md: metadata in YAML, as the hub reads it, and a page in Markdown.

    Raises:
        InputError: huggingface_hub, which writes the metadata, is not installed.
    """
    return f"---\n{_metadata(run, address, licence)}\n---\n\n{_page(run, address, licence, files)}"


# ----------------------------------------------------------------------------------------------------------- internals


def _metadata(run: Run, address: hub.Address, licence: str) -> str:
    client, base, source = hub.client(), base_of(run), _dataset(run)
    start = str((run.training.get("start") or {}).get("weights"))
    ancestor = base.hf_repo if base else hub.Address.of(start).repository if hub.is_address(start) else ""
    results = [
        client.EvalResult(
            task_type="image-classification",
            task_name="Image Classification",
            dataset_type=source or "imagefolder",
            dataset_name=source or "the author's images",
            dataset_split=side,
            metric_type="accuracy",
            metric_name=METRICS[name],
            metric_value=metrics[name],
            metric_args={"top_k": 5} if name == "top5" else None,
        )
        for side, metrics in _measured(run).items()
        for name in _named(run, metrics)
        if name != "loss"
    ]
    data = client.ModelCardData(
        license=licence,
        library_name="keras-inception",
        pipeline_tag="image-classification",
        tags=["keras-inception", "keras", "tensorflow", "image-classification", run.builder],
        datasets=[source] if source else None,
        base_model=ancestor or None,
        metrics=["accuracy"],
        model_name=address.repository.rpartition("/")[2],
        eval_results=results,
    )
    return data.to_yaml(line_break="\n").strip()


def _page(run: Run, address: hub.Address, licence: str, files: Iterable[str]) -> str:
    paper, prep = get(run.builder).paper, run.preprocessing
    height, width = prep.size
    counts = {side: run.data[name] for side, name in _SIDES.items() if run.data.get(name)}
    images = ", ".join(f"{n:,} for {side}" for side, n in counts.items()) if counts else "unknown"
    return "\n".join(
        [
            f"# {plain(address.repository.rpartition('/')[2])}",
            "",
            f"An image classifier of {len(run.labels):,} classes: {get(run.builder).builder}, of [{plain(paper.title)}]"
            f"({paper.url}) ({paper.year}), trained with [keras-inception]({HOME}).",
            "",
            *_results(run),
            "",
            "## Use",
            "",
            "```console",
            f"$ {INSTALL}",
            f"$ keras-inception predict hf://{address.repository} photo.jpg",
            f"$ keras-inception train images/ --weights hf://{address.repository} --out runs/mine",
            "```",
            "",
            "```python",
            "from keras_inception import Run",
            "",
            f'run = Run.load("hf://{address.repository}")',
            'print(run.predict("photo.jpg"))',
            "```",
            "",
            "## Training",
            "",
            *_table(
                {
                    "images": images,
                    "input": f"{height} x {width} pixels, {prep.channels}, {prep.resize_mode}",
                    "start": _start(run),
                    **_recipe(run.training),
                    "versions": ", ".join(f"{plain(k)} {plain(v)}" for k, v in run.versions.items()),
                }
            ),
            "",
            "## Classes",
            "",
            _classes(run.labels),
            "",
            "## Files",
            "",
            ", ".join(f"`{name}`" for name in files if "`" not in name),
            "",
            "## Licence",
            "",
            _licence(run, licence),
            "",
        ]
    )


_SIDES = {"training": "train", "validation": "val", "test": "test"}  # in words -> in `Run.data`


def _dataset(run: Run) -> str:
    """The name of a public data set, "" for images of the author's."""
    folder = str(run.data.get("folder") or "")
    return folder.removeprefix(TFDS).partition("/")[0].partition(":")[0] if folder.startswith(TFDS) else ""


def _measured(run: Run) -> dict[str, dict[str, float]]:
    return {run.measured_on: run.metrics, "validation": run.validation_metrics}


def _named(run: Run, metrics: Mapping[str, float]) -> list[str]:
    """The metrics to show: not the top-5 accuracy of five classes."""
    return [name for name in METRICS if name in metrics and (name != "top5" or len(run.labels) > 5)]


def _results(run: Run) -> list[str]:
    sides = _measured(run)
    names = _named(run, run.metrics)
    rows = ["## Results", "", f"| images | number | {' | '.join(METRICS[name] for name in names)} |"]
    rows.append(f"|---|---:|{'---:|' * len(names)}")
    for side, metrics in sides.items():
        cells = [f"{metrics[n]:.3g}" if n == "loss" else f"{metrics[n]:.2%}" for n in names if n in metrics]
        rows.append(f"| {plain(side)} | {int(metrics.get('n', 0)):,} | {' | '.join(cells)} |")
    chosen = "The epoch was chosen on the validation images, so that their accuracy flatters."
    return [*rows, "", f"{chosen} Images from elsewhere may be harder than any of these."]


def _start(run: Run) -> str:
    start, base = run.training.get("start") or {}, base_of(run)
    if base:
        return f"[{plain(base.id)}]({addresses(base)[0]}), licence {plain(base.license)}"
    if not start.get("weights"):
        return "random weights"
    return plain(start["weights"]) if hub.is_address(start["weights"]) else "weights of the author's"


def _recipe(training: Mapping[str, Any]) -> dict[str, str]:
    """The settings that most decide a result, in words."""
    shown = {k: training[k] for k in ("epochs", "batch_size", "optimizer", "learning_rate") if k in training}
    if schedule := training.get("schedule"):
        shown["schedule"] = schedule.get("kind", "")
    if "augmentation" in training:
        shown["augmentation"] = " ".join(words_of(from_record(training["augmentation"])))
    for name in ("weight_decay", "label_smoothing", "ema", "freeze_epochs", "precision"):
        if training.get(name):
            shown[name] = training[name]
    return {name.replace("_", " "): plain(value) for name, value in shown.items()}


def _table(rows: Mapping[str, str]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def _classes(labels: tuple[str, ...]) -> str:
    more = f", and {len(labels) - SHOWN:,} more, in `labels.txt`" if len(labels) > SHOWN else ""
    return ", ".join(map(plain, labels[:SHOWN])) + more


def _licence(run: Run, licence: str) -> str:
    base = base_of(run)
    origin = f" The weights that it started from, {plain(base.id)}, have: {plain(base.license)}." if base else ""
    return f"{plain(licence)}.{origin}"


def plain(text: Any) -> str:
    """Text that Markdown and HTML show as it is, on one line."""
    return MARKDOWN.sub(r"\\\1", html.escape(" ".join(str(text).split()), quote=False))
