"""Images a second of `predict --out`, beside the runtime's own rate on arrays that are ready.

    python benchmarks/predict.py       # some minutes; writes benchmarks/predict.md

The images are photographs of the folder KERAS_INCEPTION_DATA, by default ../shared/data, as JPEG files of 500 x 375. A
round measures each network once by each road, so that a busy machine slows all of them alike; ratios are medians over
the rounds. The runtime's own rate is that of its own call on batches of ready inputs of the same size: the upper limit
of any program around it. Starting the command, some seconds, is not counted. Runtimes that are not installed are left
out. Weights are random: rates do not depend on them.
"""

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from data import HERE, photographs, processor, write

from keras_inception import create_model, export, model_info
from keras_inception.data import listed
from keras_inception.data.rendering import Renderer, cores
from keras_inception.data.sources import Sources
from keras_inception.evaluation import BatchPredictor, KerasPredictor, predict_many
from keras_inception.export.runtimes.runners import THREADS
from keras_inception.preprocessing import Preprocessing
from keras_inception.run import versions

BATCH, ROUNDS, FLOOR = 8, 9, 0.9
NETWORKS = {"mobilenet_v1": 48, "inception_v3": 16}  # -> images in a round
NAMES = 100_000  # files whose names are held in memory
LIMITED = 0.05  # share of the time that reading takes at most where the network is the limit


class Road(NamedTuple):
    """A file in its runtime: the predictor of the command, and the runtime's own call on a batch of inputs."""

    name: str
    predictor: BatchPredictor
    own: Callable[[np.ndarray], object]


class Measured(NamedTuple):
    network: str
    road: str
    command: list[float]
    own: list[float]
    reading: list[float]


def roads(network: str, place: Path) -> Iterator[Road]:
    model = create_model(network)
    labels = tuple(map(str, range(model.output_shape[-1])))
    preprocessing = model_info(network).preprocessing_for(model.input_shape[1:])
    known = {"labels": labels, "preprocessing": preprocessing}
    yield Road("run", KerasPredictor(model=model, **known), model.predict_on_batch)
    saved = export.to_saved_model(model, place / network, **known)
    signature = tf.saved_model.load(str(saved)).signatures["preprocessed"]
    yield Road("SavedModel", export.open_predictor(saved), lambda x: signature(input=tf.constant(x)))
    for quantization in ("none", "int8"):
        more = {"calibration": calibration(preprocessing)} if quantization == "int8" else {}
        file = place / f"{network}_{quantization}.tflite"
        export.to_tflite(model, file, quantization=quantization, **known, **more)
        name = f".tflite, {'float32' if quantization == 'none' else quantization}, batch 1"
        yield Road(name, export.open_predictor(file), in_litert(file))
    with suppress(ImportError):
        import onnxruntime

        session = onnxruntime.InferenceSession(str(export.to_onnx(model, place / f"{network}.onnx", **known)))
        given = session.get_inputs()[0].name
        yield Road("ONNX", export.open_predictor(place / f"{network}.onnx"), lambda x: session.run(None, {given: x}))


def calibration(preprocessing: Preprocessing) -> np.ndarray:
    return np.stack([preprocessing(np.asarray(image)) for image in photographs()[:16]])


def in_litert(file: Path) -> Callable[[np.ndarray], object]:
    interpreter = Interpreter(str(file), num_threads=THREADS)
    interpreter.allocate_tensors()
    [given], [output] = interpreter.get_input_details(), interpreter.get_output_details()

    def own(x: np.ndarray) -> None:
        for image in x:
            interpreter.set_tensor(given["index"], image[np.newaxis].astype(given["dtype"]))
            interpreter.invoke()
            interpreter.get_tensor(output["index"])

    return own


def measure(network: str, road: Road, paths: list[Path], place: Path) -> Measured:
    """Rates of `ROUNDS` rounds; one before them, of a batch, is not counted."""
    found = Measured(network, road.name, [], [], [])
    preprocessing = road.predictor.batch_function().preprocessing
    ready = Renderer(Sources.of(paths[:BATCH]), preprocessing, None).attempt(BATCH)[0]
    predict_many(road.predictor, paths[:BATCH], place / "warm.csv", batch_size=BATCH)
    (place / "warm.csv").unlink()
    road.own(ready)
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(len(paths) // BATCH):
            road.own(ready)
        found.own.append(len(paths) / (time.perf_counter() - began))
        written = predict_many(road.predictor, paths, place / "answers.csv", batch_size=BATCH)
        found.command.append(written.computed / written.seconds)
        written.path.unlink()
        began = time.perf_counter()
        for i in range(0, len(paths), BATCH):
            Renderer(Sources.of(paths[i : i + BATCH]), preprocessing, None).attempt(BATCH)
        found.reading.append(len(paths) / (time.perf_counter() - began))
    return found


def row(found: Measured) -> str:
    command, own, reading = map(statistics.median, (found.command, found.own, found.reading))
    share = statistics.median(ours / limit for ours, limit in zip(found.command, found.own, strict=True))
    both = 1 / (1 + own / reading)  # what is left if reading takes its time from the network's
    asked = "" if own / reading > LIMITED else f"{FLOOR:.0%}" + ("" if share >= FLOOR else ", not reached")
    return (
        f"| {found.network} | {found.road} | {own:,.1f} | {reading:,.0f} | {command:,.1f} | {share:.0%} | {both:.0%} | "
        f"{asked} |"
    )


def cost(found: Measured) -> str:
    a_core = statistics.median(found.command) / cores()
    hours = 1e6 / a_core / 3600
    return f"| {found.network} | {found.road} | {a_core:,.1f} | {hours:,.0f} | {hours * 1000 / 24 / 365:,.1f} |"


def memory_of_names(place: Path) -> float:
    """Bytes of memory for each image that is listed."""
    folder = place / "names"
    folder.mkdir()
    for i in range(NAMES):
        (folder / f"n02119789_{i:08d}.jpg").touch()
    before = resident()
    found = listed(folder)
    return (resident() - before) / len(found)


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize()


def report(found: list[Measured], names: float) -> None:
    versions_ = ", ".join(f"{name} {version}" for name, version in versions().items())
    (HERE / "predict.md").write_text(
        f"""# How fast many images are predicted

{date.today()}; {processor()}, {cores()} cores, shared with other work; {versions_}.
`predict --out` on JPEG files of 500 x 375, {BATCH} at a time: images a second, medians of {ROUNDS} interleaved rounds.
`runtime` is the runtime's own call on inputs that are ready, `reading` is reading files into inputs without a network,
on the same cores. `share` is the command's rate as a share of the runtime's. `possible` is that share if reading takes
its time from the network's; more is the noise of a machine with other work, or that one alone leaves a core idle.
The floor, {FLOOR:.0%}, holds where the network is the limit: where reading takes at most {LIMITED:.0%}
of the network's time.

| network | file | runtime | reading | command | share | possible | at least |
|---|---|---:|---:|---:|---:|---:|---|
{chr(10).join(map(row, found))}

## What it costs

From the same rates: images a second for each core, the hours that one core takes for a million images, and the years
for a billion; an idle machine takes less. N cores take an N-th, if a disk or network delivers the files as fast.

| network | file | images a second, a core | core-hours a million | core-years a billion |
|---|---|---:|---:|---:|
{chr(10).join(map(cost, found))}

Memory does not depend on the number of images, except for their names: {names:,.0f} bytes for each ({NAMES:,} files
in a folder).

`python benchmarks/predict.py` repeats this.
""",
        encoding="utf-8",
    )


def main() -> None:
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["KERAS_INCEPTION_HOME"] = str(place / "home")
        names = memory_of_names(place)
        paths = write(place / "images", (500, 375), "jpg", photographs()[: max(NETWORKS.values())])
        found = []
        for network, count in NETWORKS.items():
            for road in roads(network, place):
                found.append(measure(network, road, paths[:count], place))
                print(row(found[-1]), flush=True)
        report(found, names)


if __name__ == "__main__":
    main()
