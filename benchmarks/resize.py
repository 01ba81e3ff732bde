"""What each resize mode loses on photographs that are not square.

    python benchmarks/resize.py    # writes benchmarks/resize.md: 5 minutes on two cores

MobileNetV2 with Google's hosted weights, and 200 photographs of ImageNet's classes, both from the folder
KERAS_INCEPTION_DATA, by default ../shared/data. They are measured as they are, and cut to 16:9, as phones and cameras
record videos. First the hosted weights, which were trained on Inception's distorted crops. Then new classifiers on the
frozen backbone's features, prepared by the same mode in training and in use, for groups of classes: logistic
regressions, each on a random half of the photographs and measured on the other; halves are the same for all modes. Last
a classifier of one mode that gets images of another.
"""

import os
import platform
import tarfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import keras
import numpy as np
import sklearn
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit

import keras_inception
from keras_inception import Preprocessing
from keras_inception.data import Split, decode
from keras_inception.evaluation import scores
from keras_inception.evaluation.batch import in_batches
from keras_inception.run import versions
from keras_inception.weights import from_tflite

DATA = Path(os.environ.get("KERAS_INCEPTION_DATA", Path(__file__).parents[2] / "shared" / "data"))
PAGE = Path(__file__).with_suffix(".md")
CLASSES = 1000
OBLONG = 1.2  # longer over shorter side from which on a photograph counts as not square
HALVES = 30
OWN = keras_inception.model_info("mobilenet_v2").preprocessing_for()  # crop 0.875, mean 127.5
MODES: dict[str, Preprocessing] = {
    "crop 0.875": OWN,
    "crop 1": Preprocessing(size=OWN.size),
    "stretch": OWN.with_resize("stretch"),
    "letterbox, mean": OWN.with_resize("letterbox"),
    "letterbox, 114": OWN.with_resize("letterbox", 114),
    "letterbox, black": OWN.with_resize("letterbox", 0),
    "letterbox, white": OWN.with_resize("letterbox", 255),
}
CROSSED = ("crop 0.875", "crop 1", "stretch", "letterbox, mean")
GROUPS = {  # first class of a group of ImageNet's classes -> the group
    0: "fish", 7: "bird", 25: "reptile or amphibian", 69: "invertebrate", 80: "bird", 101: "mammal",
    107: "invertebrate", 127: "bird", 147: "mammal", 151: "dog", 269: "mammal", 300: "invertebrate", 330: "mammal",
    389: "fish", 398: "object", 924: "food or plant", 970: "object", 984: "food or plant",
}  # fmt: skip


def photographs(shape: Callable[[Image.Image], Image.Image] = lambda image: image) -> Split:
    """The photographs, each as `shape` returns it, with their classes in ImageNet's order."""
    images, labels = [], []
    with tarfile.open(DATA / "imagenet_sample_200.tar") as archive:
        for member in archive:
            if file := archive.extractfile(member):
                images.append(np.asarray(shape(Image.fromarray(decode(file.read())))))
                labels.append(int(Path(member.name).name.split("_")[0]))
    sources = np.empty(len(images), object)
    sources[:] = images
    return Split(sources, np.array(labels, np.int32), tuple(map(str, range(CLASSES))))


def wide(image: Image.Image) -> Image.Image:
    """The middle of an image, cut to 16:9 along its longer side."""
    width, height = image.size
    if width >= height:
        cut = min(height, round(width * 9 / 16))
        return image.crop((0, (height - cut) // 2, width, (height - cut) // 2 + cut))
    cut = min(width, round(height * 9 / 16))
    return image.crop(((width - cut) // 2, 0, (width - cut) // 2 + cut, height))


def measured(model: keras.Model, split: Split, preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """The backbone's features (n, 1280) and the probabilities of ImageNet's classes (n, 1000)."""
    batches = (x for x, _ in split.batches(preprocessing, 50))
    features, probabilities = zip(*in_batches(model.predict_on_batch, batches), strict=True)
    return np.concatenate(features), np.concatenate(probabilities)


def heads(trained: np.ndarray, used: list[np.ndarray], groups: np.ndarray) -> np.ndarray:
    """How often classifiers of these features are right, (n, len(used)): of a half, on each of `used` of the other."""
    right, times = np.zeros((len(groups), len(used))), np.zeros((len(groups), 1))
    for train, test in StratifiedShuffleSplit(HALVES, train_size=0.5, random_state=0).split(trained, groups):
        head = LogisticRegression(C=10, max_iter=1000).fit(trained[train], groups[train])
        right[test] += np.stack([head.predict(features[test]) == groups[test] for features in used], axis=1)
        times[test] += 1
    return right / times


def table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def against(found: np.ndarray, base: np.ndarray) -> str:
    """The mean of differences by photograph, in points, and its standard error."""
    difference = 100 * (found - base)
    return f"{difference.mean():+.1f} ± {difference.std(ddof=1) / len(difference) ** 0.5:.1f}"


def section(title: str, model: keras.Model, split: Split) -> str:
    ratios = np.array([max(image.shape[:2]) / min(image.shape[:2]) for image in split.sources])
    split, ratios = split.select(ratios >= OBLONG), ratios[ratios >= OBLONG]
    starts = np.array(list(GROUPS))
    names = np.array(list(GROUPS.values()))[np.searchsorted(starts, split.labels, side="right") - 1]
    outputs = {mode: measured(model, split, preprocessing) for mode, preprocessing in MODES.items()}
    right = {mode: probabilities.argmax(axis=1) == split.labels for mode, (_, probabilities) in outputs.items()}
    features = {mode: found for mode, (found, _) in outputs.items()}
    uses = [features[mode] for mode in CROSSED]
    top1 = {mode: heads(found, [found, *uses], names) for mode, found in features.items()}
    first = next(iter(MODES))
    rows = []
    for mode, (_, probabilities) in outputs.items():
        hosted = scores(probabilities, split.labels)
        only = f"{(right[mode] & ~right[first]).sum()} / {(right[first] & ~right[mode]).sum()}"
        own = top1[mode][:, 0]
        rows.append([mode, f"{hosted['top1']:.1%}", f"{hosted['top5']:.1%}", f"{hosted['loss']:.3f}", only,
                     f"{own.mean():.1%}", against(own, top1[first][:, 0])])  # fmt: skip
    crossed = [[f"trained: {mode}", *(f"{x:.1%}" for x in top1[mode][:, 1:].mean(axis=0))] for mode in CROSSED]
    titles = ["mode", "top-1", "top-5", "loss", "right here only / there only", "new head", "against crop 0.875"]
    return f"""## {title}

{len(split)} photographs whose longer side is {OBLONG} times the shorter or more, {np.median(ratios):.2f} in the median.

{table(titles, rows)}

A head of one mode, used with another:

{table(["", *(f"used: {use}" for use in CROSSED)], crossed)}
"""


def main() -> None:
    network = keras_inception.MobileNetV2()
    from_tflite(network, DATA / "mobilenet_v2_1.0_224_quant.tflite")
    model = keras.Model(network.input, [network.get_layer("avg_pool").output, network.output])
    known = {**versions(), "scikit-learn": sklearn.__version__, "pillow": Image.__version__}
    PAGE.write_text(
        f"""# Resize modes

What each resize mode loses on photographs that are not square. MobileNetV2 with Google's hosted weights, which were
trained on Inception's distorted crops. {date.today()}; {platform.machine()}, {os.cpu_count()} cores;
{", ".join(f"{k} {v}" for k, v in known.items())}.
`python benchmarks/resize.py` repeats it.

"Right here only / there only" counts the photographs of which one of this mode and crop 0.875 is right. "New head" is
the top-1 of logistic regressions on the frozen backbone's features, for {len(set(GROUPS.values()))} groups of classes,
over {HALVES} random halves; then the mean difference by photograph, in points, ± its standard error.

{section("Photographs as they are", model, photographs())}
{section("Cut to 16:9", model, photographs(wide))}"""
    )


if __name__ == "__main__":
    main()
