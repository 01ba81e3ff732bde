"""Images a second, beside Keras' loader and bare decoding, and how near evaluation is to the exported SavedModel.

    python benchmarks/data.py          # a quarter of an hour; writes benchmarks/data.md

The images are 200 photographs of the folder KERAS_INCEPTION_DATA, by default ../shared/data, brought to each size. A
round reads all of them once by each road, so that a busy machine slows all of them alike; ratios are medians over the
rounds. `keras` is `keras.utils.image_dataset_from_directory`, which resizes without antialiasing and crops nothing.
Libraries that are not installed are left out of the last table: `pip install opencv-python-headless cykooz-resizer`.
"""

import gc
import io
import os
import platform
import resource
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_inception.data import Augmentation, Shift, Split, decode
from keras_inception.data.split import untuned
from keras_inception.preprocessing import Preprocessing
from keras_inception.run import versions

HERE = Path(__file__).parent
DATA = Path(os.environ.get("KERAS_INCEPTION_DATA", HERE.parents[1] / "shared" / "data"))
SIZE, BATCH, ROUNDS = 224, 32, 5
PREPROCESSING = Preprocessing(size=(SIZE, SIZE), crop=0.875)
COLOUR = Augmentation(colour=1.0)
# kind -> size of the files, ending, copies of the photographs to read in a round
KINDS = {
    "JPEG, 500 x 375": ((500, 375), "jpg", 6),
    "JPEG, 12 megapixels": ((4000, 3000), "jpg", 0.2),
    "PNG, 500 x 375": ((500, 375), "png", 3),
}
# road -> ratio to Keras' loader that it must reach
FLOORS = {
    "JPEG, 500 x 375": {"evaluation": 0.7, "training": 1.0},
    "JPEG, 12 megapixels": {"training": 3.0},
    "PNG, 500 x 375": {"evaluation": 0.9, "training": 0.9},
}


def photographs() -> list[Image.Image]:
    with tarfile.open(DATA / "imagenet_sample_200.tar") as archive:
        files = [archive.extractfile(member) for member in archive if member.isfile()]
        return [Image.open(io.BytesIO(file.read())).convert("RGB") for file in files if file]


def write(folder: Path, size: tuple[int, int], ending: str, images: Iterable[Image.Image]) -> list[Path]:
    """Files in two folders of classes. A photograph that is enlarged gets a camera's noise, which costs it bytes."""
    noise, paths = np.random.default_rng(0), []
    for i, image in enumerate(images):
        path = folder / "ab"[i % 2] / f"{i}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        enlarged = image.resize(size, Image.Resampling.BICUBIC)
        if size[0] > 1000:
            grain = noise.integers(-4, 5, (size[1], size[0], 1), dtype=np.int16)
            enlarged = Image.fromarray(np.clip(np.asarray(enlarged) + grain, 0, 255).astype(np.uint8))
        enlarged.save(path, **({"quality": 90} if ending == "jpg" else {}))
        paths.append(path)
    return paths


def copied(paths: list[Path], copies: int) -> list[Path]:
    """The files and others of the same content."""
    more = [path.with_name(f"{i}_{path.name}") for path in paths for i in range(1, copies)]
    for path in more:
        os.link(path.with_name(path.name.split("_", 1)[1]), path)
    return paths + more


def split_of(sources: list[Path] | np.ndarray) -> Split:
    array = sources if isinstance(sources, np.ndarray) else np.array(sources, object)
    return Split(array, np.zeros(len(array), np.int32), ("a", "b"))


def bare(paths: list[Path]) -> tf.data.Dataset:
    """TensorFlow's decoder on all cores; what it decodes is thrown away."""
    files = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])

    def shape(path: tf.Tensor) -> tf.Tensor:
        return tf.shape(tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False))

    return untuned(files.map(shape, num_parallel_calls=os.cpu_count()).batch(BATCH).prefetch(2))


def rate(data: tf.data.Dataset, n: int) -> float:
    """Images a second until the last batch. That Keras' iterator then ends up to ten seconds later is not counted."""
    began = time.perf_counter()
    iterator = iter(data)
    for _ in iterator:
        pass
    return n / (time.perf_counter() - began)


def interleaved(roads: dict[str, tuple[Callable[[], tf.data.Dataset], int]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in roads}
    for _ in range(ROUNDS):
        for name, (make, n) in roads.items():
            found[name].append(rate(make(), n))
            gc.collect()
    return found


def files(kind: str, images: list[Image.Image], place: Path) -> dict[str, list[float]]:
    size, ending, copies = KINDS[kind]
    paths = write(place, size, ending, images[: int(min(1, copies) * len(images))])
    print(kind, f"{statistics.mean(path.stat().st_size for path in paths) / 1e3:.0f} kB each", flush=True)
    paths = copied(paths, max(1, int(copies)))
    split = split_of(paths)

    def loader() -> tf.data.Dataset:
        size = (SIZE, SIZE)
        return keras.utils.image_dataset_from_directory(place, image_size=size, batch_size=BATCH, verbose=False)

    return interleaved(
        {
            "keras": (loader, len(split)),
            "bare decode": (lambda: bare(paths), len(split)),
            "evaluation": (lambda: split.batches(PREPROCESSING, BATCH), len(split)),
            "training": (lambda: split.batches(PREPROCESSING, BATCH, training=True, augmentation=COLOUR), len(split)),
        }
    )


def arrays() -> dict[str, list[float]]:
    small = split_of(np.random.default_rng(0).integers(0, 256, (10_000, 32, 32, 3), dtype=np.uint8))
    same = Preprocessing(size=(32, 32))
    return interleaved(
        {
            "evaluation": (lambda: small.batches(same, BATCH), len(small)),
            "training": (lambda: small.batches(same, BATCH, training=True, augmentation=Shift()), len(small)),
        }
    )


def exactness(place: Path) -> list[str]:
    """Evaluation's pixels, and a network's answers, beside those of the SavedModel that decodes files itself."""
    import keras_inception.export

    sys.path.insert(0, str(HERE))
    from transfer import weights

    network = keras_inception.MobileNetV2(weights=weights(place), input_shape=(SIZE, SIZE, 3))
    saved = place / "saved_model"
    preprocessing = keras_inception.model_info("mobilenet_v2").preprocessing_for((SIZE, SIZE, 3))
    keras_inception.export.to_saved_model(network, saved, preprocessing=preprocessing)
    serve = tf.saved_model.load(str(saved)).signatures["encoded"]
    rows = []
    for kind in KINDS:
        paths = sorted((place / kind).rglob("*.*"))[:100]
        inputs = np.concatenate([x for x, _ in split_of(paths).batches(preprocessing, BATCH)])
        graph = np.stack([preprocessing.resize(decode(path)).numpy() for path in paths])
        levels = np.abs(inputs * 127.5 + 127.5 - graph)
        ours = network.predict(inputs, verbose=0)
        theirs = np.concatenate([serve(tf.constant([path.read_bytes()]))["probabilities"] for path in paths])
        same = np.mean(ours.argmax(1) == theirs.argmax(1))
        rows.append(f"| {kind} | {levels.max():.3f} | {same:.0%} | {np.abs(ours - theirs).max():.1e} |")
    return rows


def libraries(paths: list[Path]) -> list[str]:
    """Milliseconds of one core for a step of one image, by library."""
    import simplejpeg

    from keras_inception.data.views import central

    contents = [path.read_bytes() for path in paths]
    images = [decode(content) for content in contents]
    windows = [np.ascontiguousarray(image[23:351, 86:414]) for image in images]
    tensors, out = [tf.constant(w) for w in windows], np.empty(PREPROCESSING.input_shape, np.float32)
    pillow, size = [Image.fromarray(w) for w in windows], (SIZE, SIZE)
    view = central(375, 500, PREPROCESSING)
    steps: dict[str, tuple[Callable, list]] = {
        "decode: TensorFlow": (lambda c: tf.io.decode_jpeg(c, dct_method="INTEGER_ACCURATE"), contents),
        "decode: Pillow": (lambda c: Image.open(io.BytesIO(c)).load(), contents),
        "decode: **simplejpeg**": (simplejpeg.decode_jpeg, contents),
        "decode: **simplejpeg, fast transform and upsampling**": (
            lambda c: simplejpeg.decode_jpeg(c, fastdct=True, fastupsample=True), contents,
        ),
        "resize: TensorFlow, antialiased": (lambda x: tf.image.resize(x, size, antialias=True), tensors),
        "resize: TensorFlow, not antialiased": (lambda x: tf.image.resize(x, size), tensors),
        "resize: Pillow": (lambda x: x.resize(size, Image.Resampling.BILINEAR), pillow),
        "resize and normalise: **`data.views`, compiled by Numba**": (
            lambda x: view.render(x, PREPROCESSING, out), images,
        ),
    }  # fmt: skip
    if find_spec("cv2"):
        import cv2

        steps["decode: OpenCV"] = (lambda c: cv2.imdecode(np.frombuffer(c, np.uint8), cv2.IMREAD_COLOR), contents)
        steps["resize: OpenCV, area"] = (lambda x: cv2.resize(x, size, interpolation=cv2.INTER_AREA), windows)
        steps["resize: OpenCV, not antialiased"] = (lambda x: cv2.resize(x, size), windows)
    if find_spec("cykooz_resizer"):
        from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer

        options, resizer = ResizeOptions(ResizeAlg.convolution(FilterType.bilinear)), Resizer()
        steps["resize: cykooz.resizer, which holds Python's lock"] = (
            lambda x: resizer.resize_pil(x, Image.new("RGB", size), options), pillow,
        )  # fmt: skip
    return [f"| {name} | {milliseconds(step, given):.2f} |" for name, (step, given) in sorted(steps.items())]


def milliseconds(step: Callable, given: list) -> float:
    step(given[0])
    found = []
    for _ in range(3):
        began = time.process_time()
        for x in given:
            step(x)
        found.append((time.process_time() - began) / len(given) * 1e3)
    return statistics.median(found)


def report(
    measured: dict[str, dict[str, list[float]]], small: dict[str, list[float]], exact: list[str], steps: list[str]
):
    table = []
    for kind, rates in measured.items():
        for road, each in rates.items():
            ratio = statistics.median(ours / keras_ for ours, keras_ in zip(each, rates["keras"], strict=True))
            share = statistics.median(ours / limit for ours, limit in zip(each, rates["bare decode"], strict=True))
            floor = FLOORS[kind].get(road)
            asked = f"{floor:.1f}{'' if ratio >= floor else ', not reached'}" if floor else ""
            table.append(f"| {kind} | {road} | {statistics.median(each):,.0f} | {ratio:.2f} | {asked} | {share:.0%} |")
    versions_ = ", ".join(f"{name} {version}" for name, version in versions().items())
    (HERE / "data.md").write_text(
        f"""# How fast images are read

{date.today()}; {processor()}, {os.cpu_count()} cores; {versions_}. Images a second, medians of {ROUNDS}
interleaved rounds, into batches of {BATCH} float32 inputs of {SIZE} x {SIZE}. Evaluation crops the middle and resizes
it with antialiasing; training adds random crops, mirroring and colours. `bare decode` is TensorFlow's decoder on all
cores without anything else.

| images | road | images a second | times Keras' loader | at least | share of bare decode |
|---|---|---:|---:|---|---:|
{chr(10).join(table)}

Arrays of 10,000 images of 32 x 32: evaluation {statistics.median(small["evaluation"]):,.0f} a second, training with
shifts and mirroring {statistics.median(small["training"]):,.0f}.

## The same pixels everywhere

Evaluation's pixels beside `Preprocessing` as a graph, and the answers of MobileNetV2 with Google's hosted weights
beside those of its SavedModel, which decodes the files itself.

| images | largest difference, grey levels | same class | largest difference of a probability |
|---|---:|---:|---:|
{chr(10).join(exact)}

## Libraries

Milliseconds of one core for one image of 500 x 375; what is resized is its window of 328 x 328, to {SIZE} x {SIZE}.
Bold are those that are used.

| step | ms |
|---|---:|
{chr(10).join(steps)}

`python benchmarks/data.py` repeats this. Peak memory of the measurements:
{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB.
""",
        encoding="utf-8",
    )


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        os.environ["KERAS_INCEPTION_HOME"] = place
        images = photographs()
        measured = {kind: files(kind, images, Path(place) / kind) for kind in KINDS}
        small = arrays()
        exact = exactness(Path(place))
        steps = libraries(sorted((Path(place) / "JPEG, 500 x 375").rglob("*.jpg"))[:200])
        report(measured, small, exact, steps)


if __name__ == "__main__":
    main()
