"""An int8 file that keeps a target: what costs least is tried first, and measured on held-out images."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_inception.arguments import Count, checked
from keras_inception.data import Dataset, Split, as_dataset, is_tf_data
from keras_inception.errors import InputError, first_line
from keras_inception.files import new_output, write_figure
from keras_inception.preprocessing import Preprocessing
from keras_inception.run import Run
from keras_inception.terminal import tell_progress

from ..agreement import ComparisonData, agreement
from ..inputs import Exportable, ModelOrRun, compiled
from ..runtimes.benchmark import benchmark
from ..tflite.convert import Quantization, to_tflite
from ..tflite.flatbuffer import is_tflite
from ..tflite.layer_errors import layer_errors, worst
from ..tflite.metadata import About
from ..tflite.tensors import layers_before
from .calibration import Calibration, CalibrationSet, calibration_set, to_pixels
from .qat.fine_tune import DEFAULT, need_tfmot, quantize_aware
from .qat.settings import FineTuning, TrainingData

MEASURED = 5_000  # held-out images that each file is measured on, at most
ROUNDING = 1e-9  # points: a loss that equals the target in decimals holds it
SECONDS = 1.0  # for each file when they are timed
TRAINED = "int8_trained.tflite"
RECORD, PLOT = "search.json", "frontier.svg"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A file that the search made, and what was measured of it.

    `file` is its name, "int8.tflite". `loss` is in points beside the Keras model: of top-1 accuracy, or of agreement
    where that is the target. `holds` says whether that is within the target. `agreement` is a share, `milliseconds`
    the median time of an image, of all files in turns (`benchmark`). "float32" is the network that is not quantised,
    for comparison.
    """

    file: str
    float_layers: tuple[str, ...] = ()
    loss: float
    holds: bool
    top1: float | None
    agreement: float
    bytes: int
    milliseconds: float = 0.0

    def beats(self, other: Trial) -> bool:
        """Whether it is at least as good in loss, bytes and time, and better in one of them."""
        mine, theirs = ((t.loss, t.bytes, t.milliseconds) for t in (self, other))
        return mine != theirs and all(m <= t for m, t in zip(mine, theirs, strict=True))


@dataclass(frozen=True, kw_only=True)
class QuantizationSearch:
    """What `quantize_to_target` tried, in its order.

    `target` is the most points that may be lost of `measure`, "top-1" or "agreement". `n` is the number of held-out
    images that decided, of which one is 100 / n points; `keras_top1` is the Keras model's accuracy on them, None
    without labels. `chosen` is the trial whose file was written to `path`; None if none holds the target.
    """

    path: Path
    measure: str
    target: float
    n: int
    keras_top1: float | None
    trials: tuple[Trial, ...]
    chosen: Trial | None

    @property
    def frontier(self) -> tuple[Trial, ...]:
        """The trials that no other beats in loss, bytes and time, the smallest first."""
        left = [trial for trial in self.trials if not any(other.beats(trial) for other in self.trials)]
        return tuple(sorted(left, key=lambda trial: trial.bytes))

    @property
    def best(self) -> Trial:
        """The quantised trial that loses least."""
        return min(self.trials[1:], key=lambda trial: trial.loss)

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        frontier = [trial.file for trial in self.frontier]
        return asdict(self) | {"path": str(self.path), "frontier": frontier}

    def plot(self, path: str | Path) -> None:
        """Plot the loss of each trial against its size; the frontier is marked, and the target is a line.

        The file extension of `path` determines the format: ".png", ".svg" or another one of Matplotlib's.

        Raises:
            InputError: Matplotlib does not write that format.
        """
        from matplotlib.figure import Figure  # half a second, which nothing else here needs

        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.subplots()
        for trials, style, label in ((self.trials, "o", None), (self.frontier, "C1o", "no other beats it")):
            axes.plot([t.bytes / 1e6 for t in trials], [t.loss for t in trials], style, label=label)
        for trial in self.trials:
            label = f"{trial.file.removesuffix('.tflite')}, {trial.milliseconds:.2g} ms"
            axes.annotate(label, (trial.bytes / 1e6, trial.loss), (5, 4), textcoords="offset points", fontsize=8)
        axes.axhline(self.target, color="grey", linewidth=1, label=f"target, on {self.n:,} images")
        axes.margins(x=0.2, y=0.1)
        axes.set(xlabel="megabytes", ylabel=f"points of {self.measure} lost")
        axes.grid(alpha=0.3)
        axes.legend()
        write_figure(Path(path), figure)


class TargetMissed(InputError):
    """No file holds the target, and none was written; `search` is what was tried.

    Raises:
        InputError: the search is no `QuantizationSearch`.
    """

    @checked
    def __init__(self, search: QuantizationSearch):
        best = search.best
        trained = any(trial.file == TRAINED for trial in search.trials)
        cure = "allow more" if trained else "allow more, or let it be trained rounded to int8 too (--qat IMAGES)"
        super().__init__(
            f"no file loses at most {search.target:g} points of {search.measure} on {search.n:,} held-out images, and "
            f"{search.path} is not written: {best.file} comes nearest and loses {best.loss:.3g}, "
            f"{best.loss - search.target:.2g} too many; {cure}"
        )
        self.search = search


@checked
def quantize_to_target(
    model_or_run: ModelOrRun,
    path: str | Path,
    *,
    max_drop: float | None = None,
    min_agreement: float | None = None,
    calibration: Calibration | None = None,
    held_out: ComparisonData | None = None,
    qat: TrainingData | None = None,
    training: FineTuning = DEFAULT,
    teacher: str | Path | Run | None = None,
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    batch: Count = 1,
    about: About | None = None,
    trials: int = 20,
    frontier: str | Path | None = None,
    overwrite: bool = False,
) -> QuantizationSearch:
    """Export the int8 .tflite file that departs least from int8 and still keeps an accuracy.

    Tried in this order, until one holds the target:

    1. int8 throughout.
    2. int8 with the layers in float at which most is lost (`layer_errors`, measured anew after each file): 1, 2, 4, 8
       and so on, then back to the smallest number that holds. No layer is added to a file that gives back a third
       of what int8 saves (it has half of float32's size, as float16, which loses nothing), and one that does is taken
       only where the next step does not hold.
    3. int16x8, the whole network: few accelerators take it. TensorFlow's converter has no file in which some layers
       have int16 and others int8 activations, so there is none such between.
    4. With `qat`, int8 after quantisation-aware training.

    Only held-out images decide. Calibration images that are among them are left out. With few of them the measure is
    coarse: of 200 images one is half a point.

    Args:
        model_or_run: a functional model, a run or a run directory.
        path: the file to write.
        max_drop: the most points of top-1 accuracy to lose beside the Keras model, 0 to 100: 0.5 is from 90 to 89.5 %.
            Needs labels.
        min_agreement: instead, the least share of images in percent for which file and Keras model predict one class.
        calibration: as for `to_tflite`: typical images, by default a run's training images.
        held_out: as the data of `agreement`: by default a run's test images, or its validation images where there are
            none. Of more than 5,000 labelled images a sample is taken.
        qat: the labelled images of `quantize_aware`, which is tried only with them.
        training: of `quantize_aware`.
        teacher: of `quantize_aware`.
        preprocessing: what the network was trained with; a run knows it.
        labels: class names in the order of the outputs; a run knows them.
        batch: as for `to_tflite`.
        about: description, version, author and licence for the file's metadata.
        trials: the most files to make before quantisation-aware training.
        frontier: a folder to write, also if the target is missed, with the files that no other beats in loss, bytes and
            time, `search.json` and a plot.
        overwrite: replace what is at `path` and `frontier`, after the new files are complete.

    Raises:
        TargetMissed: no file holds the target; nothing is at `path` but what was there before.
        InputError: an argument cannot be used, there are no images left to calibrate with, images to train on are
            among the held-out ones, or a file cannot be written; nothing is left.
    """
    measure, target = _target(max_drop, min_agreement)
    if trials < 2:
        raise InputError(f"trials is the most files to make, 2 or more: float32 and int8 are two; got {trials}")
    if qat is None and teacher is not None:
        raise InputError("a teacher is for quantisation-aware training: give qat too, or leave the teacher out")
    if qat is not None:
        need_tfmot()
    path = Path(path)
    missed = None
    with (
        new_output(Path(frontier), overwrite=overwrite, kind="frontier of a search", is_kind=is_frontier)
        if frontier
        else nullcontext() as kept
    ):
        try:
            with new_output(path, overwrite=overwrite, kind="TFLite file", is_kind=is_tflite) as part:
                made = Path(tempfile.mkdtemp(dir=part.parent))
                source = Exportable.of(model_or_run, labels=labels, preprocessing=preprocessing)
                images = _held_out(source, held_out, labelled=measure == "top-1")
                known: dict[str, Any] = {"preprocessing": source.preprocessing, "labels": source.labels}
                attempts = _Attempts(
                    source=source,
                    held_out=images,
                    calibration=_apart(calibration_set(calibration, source.with_float_input()), images, source),
                    measure=measure,
                    target=target,
                    options=known | {"batch": batch, "about": about},
                    folder=made,
                    most=trials,
                )
                data = None if qat is None else _to_train_on(qat, source, images)
                chosen = attempts.after_training()
                if chosen is None and data is not None:
                    more: dict[str, Any] = {"training": training, "teacher": teacher, "batch": batch}
                    state = path.with_name(f"{path.name}.training")  # as without a search: either resumes the other's
                    chosen = attempts.add(
                        TRAINED,
                        lambda file: quantize_aware(
                            source.run or source.given, data, file, checkpoints=state, **known, **more
                        ),
                    )
                    chosen = chosen if chosen.holds else None
                search = attempts.timed(path, chosen)
                if kept is not None:
                    _keep(search, made, kept)
                if search.chosen is None:
                    raise TargetMissed(search)
                shutil.copyfile(made / search.chosen.file, part)
        except TargetMissed as error:
            missed = error
    if missed is not None:
        raise missed
    return search


def is_frontier(folder: Path) -> bool:
    """Whether a folder was written by `quantize_to_target`."""
    return (folder / RECORD).is_file()


# ------------------------------------------------------------------------------------------------------------ internals


@dataclass(kw_only=True)
class _Attempts:
    """The files made so far, in `folder`, and what was measured of them."""

    source: Exportable
    held_out: ComparisonData
    calibration: CalibrationSet
    measure: str
    target: float
    options: dict[str, Any]
    folder: Path
    most: int
    trials: list[Trial] = field(default_factory=list)
    n: int = 0
    keras_top1: float | None = None

    def after_training(self) -> Trial | None:
        """Without another training: the first file that holds, or None."""
        exact = self._converted("float32.tflite", "none")
        whole = self._converted("int8.tflite", "int8")
        if whole.holds:
            return whole
        largest = whole.bytes + (exact.bytes - whole.bytes) // 3
        mixed = self._mixed(whole, largest)
        if (mixed is not None and mixed.bytes <= largest) or len(self.trials) >= self.most:
            return mixed
        try:
            wide = self._converted("int16x8.tflite", "int16x8")
        except InputError as error:  # the converter lacks some operators in int16
            tell_progress(f"int16x8: {first_line(error)}")
            return mixed
        return wide if wide.holds else mixed

    def _mixed(self, whole: Trial, largest: int) -> Trial | None:
        """int8 with the fewest layers in float that hold; `whole` has none, and misses."""
        before = layers_before((self.folder / self.trials[0].file).read_bytes())
        layers: list[str] = []  # in the order in which they were the worst
        last, missed = whole, 0
        while not last.holds:
            missed = len(layers)
            errors = layer_errors(self.folder / last.file, self.source.given, self.calibration.inputs)
            # A layer that is in float and still among the worst has it of its inputs, which are rounded.
            ranked = [x for layer in worst(errors, len(errors)) for x in (layer, *before[layer] * (layer in layers))]
            left = [layer for layer in dict.fromkeys(ranked) if layer not in layers]
            if not left or last.bytes > largest or len(self.trials) >= self.most:
                return None
            layers += left[: max(1, len(layers))]
            try:
                last = self._float_layers(layers)
            except InputError as error:
                tell_progress(f"{len(layers)} layers in float: {first_line(error)}")
                return None
        while len(last.float_layers) - missed > 1 and len(self.trials) < self.most:
            middle = self._float_layers(layers[: (missed + len(last.float_layers)) // 2])
            if middle.holds:
                last = middle
            else:
                missed = len(middle.float_layers)
        return last

    def _float_layers(self, layers: Sequence[str]) -> Trial:
        name = f"int8_{len(layers)}_in_float.tflite"
        return self._converted(name, "int8", float_layers=tuple(layers))

    def _converted(self, name: str, quantization: Quantization, float_layers: tuple[str, ...] = ()) -> Trial:
        calibration = None if quantization == "none" else self.calibration
        return self.add(
            name,
            lambda file: to_tflite(
                self.source.given,
                file,
                quantization=quantization,
                calibration=calibration,
                float_layers=float_layers,
                **self.options,
            ),
            float_layers,
        )

    def add(self, name: str, make: Callable[[Path], object], float_layers: tuple[str, ...] = ()) -> Trial:
        """Make a file and measure it on the held-out images."""
        file = self.folder / name
        make(file)
        found = agreement(file, self.source.given, self.held_out, limit=MEASURED)
        self.n, self.keras_top1 = found.n, found.keras_top1
        share = 1 - found.agreement
        if self.measure == "top-1" and found.top1 is not None and found.keras_top1 is not None:
            share = found.keras_top1 - found.top1
        trial = Trial(
            file=name,
            float_layers=float_layers,
            loss=100 * share,
            holds=100 * share <= self.target + ROUNDING,
            top1=found.top1,
            agreement=found.agreement,
            bytes=found.bytes,
        )
        self.trials.append(trial)
        tell_progress(f"{name}: {trial.loss:.3g} points of {self.measure} lost, {trial.bytes:,} bytes")
        return trial

    def timed(self, path: Path, chosen: Trial | None) -> QuantizationSearch:
        """All of it, with every file timed beside the others."""
        timings = benchmark([self.folder / trial.file for trial in self.trials], seconds=SECONDS).timings
        found = {t.file: replace(t, milliseconds=x.milliseconds) for t, x in zip(self.trials, timings, strict=True)}
        return QuantizationSearch(
            path=path,
            measure=self.measure,
            target=self.target,
            n=self.n,
            keras_top1=self.keras_top1,
            trials=tuple(found.values()),
            chosen=found[chosen.file] if chosen else None,
        )


def _target(max_drop: float | None, min_agreement: float | None) -> tuple[str, float]:
    """What is measured, and the most points of it that may be lost."""
    if (max_drop is None) == (min_agreement is None):
        raise InputError("give one target: max_drop, points of top-1 accuracy, or min_agreement, percent of the images")
    if max_drop is not None:
        if not 0 <= max_drop <= 100:
            raise InputError(f"max_drop is in points of top-1 accuracy, 0 to 100, such as 0.5; got {max_drop:g}")
        return "top-1", max_drop
    assert min_agreement is not None
    if not 0 <= min_agreement <= 100:
        raise InputError(f"min_agreement is in percent of the images, 0 to 100, such as 99; got {min_agreement:g}")
    return "agreement", 100 - min_agreement


def _held_out(source: Exportable, given: ComparisonData | None, *, labelled: bool) -> ComparisonData:
    """The images that decide."""
    if given is None:
        if source.run is None:
            raise InputError("give held_out=: labelled images that the network was not trained on")
        given = source.run.images("held_out")
    if labelled and not isinstance(given, Split | tuple):
        raise InputError("max_drop needs labels: give held_out=(inputs, labels), or min_agreement in its place")
    if isinstance(given, Split):
        if source.preprocessing is None:
            raise InputError("to measure on images give preprocessing= too, or the network's inputs as an array")
        return given.sample(MEASURED)
    return given


def _apart(calibration: CalibrationSet, held_out: ComparisonData, source: Exportable) -> CalibrationSet:
    """The calibration images that are not among the held-out ones."""

    def digest(image: np.ndarray) -> bytes:
        return hashlib.sha256(image.astype(calibration.inputs.dtype).tobytes()).digest()

    held = {digest(image) for image in _as_calibrated(held_out, source.preprocessing)}
    apart = np.array([digest(image) not in held for image in calibration.inputs])
    if not apart.any():
        raise InputError(
            "all calibration images are among the held-out ones, on which a file must not be made: give training "
            "images as calibration (--calibration DIR)"
        )
    return replace(calibration, inputs=calibration.inputs[apart])


def _as_calibrated(images: ComparisonData, preprocessing: Preprocessing | None) -> Iterator[np.ndarray]:
    """Images as a `CalibrationSet` holds them."""
    if isinstance(images, Split):
        assert preprocessing is not None
        resize = compiled(preprocessing.resize)
        yield from (np.round(resize(images.image(i))) for i in range(len(images)))
        return
    inputs = images[0] if isinstance(images, tuple) else images
    for x in np.asarray(inputs)[:, np.newaxis]:
        yield (np.round(to_pixels(x, preprocessing)) if preprocessing else x)[0]


def _to_train_on(data: TrainingData, source: Exportable, held_out: ComparisonData) -> TrainingData:
    """The images of quantisation-aware training, split as for a training of the run."""
    if isinstance(data, str | Path) or is_tf_data(data):
        data = as_dataset(data, **(source.run.shares if source.run else {}))
    if isinstance(data, Dataset) and isinstance(held_out, Split):
        held = {digest.tobytes() for digest in held_out.content_digests()}
        if found := sum(digest.tobytes() in held for digest in data.train.content_digests()):
            raise InputError(
                f"{found} of the images to train on are among the held-out ones, which decide: give others"
            )
    return data


def _keep(search: QuantizationSearch, made: Path, folder: Path) -> None:
    """Write the files that no other beats, the table and the plot."""
    folder.mkdir()
    for trial in search.frontier:
        shutil.copyfile(made / trial.file, folder / trial.file)
    (folder / RECORD).write_text(json.dumps(search.to_dict(), indent=2) + "\n", encoding="utf-8")
    search.plot(folder / PLOT)
