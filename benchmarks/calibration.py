"""How many images calibrate an int8 file, and whether they must be photographs.

    make calibration    # ten minutes

The hosted MobileNets: of 200 photographs of ImageNet's classes every second one judges, and the others calibrate, a few
or all of them; so do enlarged images of CIFAR-10 and generated ones. The result goes into calibration.md. Weights,
photographs and images come by their hosted names from the folder that KERAS_INCEPTION_DATA names, ../shared/data by
default.
"""

import os
import tarfile
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from export import DATA, HOSTED, as_inputs, hosted
from keras_inception import export
from keras_inception.export.runtimes.processor import processor
from keras_inception.files import write_file

PAGE = Path(__file__).with_suffix(".md")
COUNTS = 2, 8, 32
DRAWS = 3  # of each count


def of_cifar(count: int) -> list[np.ndarray]:
    """CIFAR-10's test images, 32 x 32, of all classes."""
    with tarfile.open(DATA / "cifar10_jpg.tar.gz") as archive:
        members = [m for m in archive if m.name.startswith("test/") and m.isfile()]
        some = members[:: len(members) // count][:count]
        return [np.asarray(Image.open(archive.extractfile(m)).convert("RGB")) for m in some]


def generated(squares: int, count: int) -> list[np.ndarray]:
    """RGB images of random colours, 256 x 256, smooth between `squares` x `squares` of them."""
    rng = np.random.default_rng(0)
    some = rng.integers(0, 256, (count, squares, squares, 3), np.uint8)
    return [np.asarray(Image.fromarray(image).resize((256, 256), Image.Resampling.BICUBIC)) for image in some]


def row(name: str, model: keras.Model, draws: list[np.ndarray], judge: tuple[np.ndarray, np.ndarray]) -> str:
    """Medians over draws of calibration images; of several with the lowest and the highest."""
    with tempfile.TemporaryDirectory() as folder:
        files = [
            export.to_tflite(model, Path(folder, f"{i}.tflite"), quantization="int8", calibration=images)
            for i, images in enumerate(draws)
        ]
        found = [export.agreement(path, model, judge) for path in files]
    figures = [100 * f.agreement for f in found], [100 * f.top1 for f in found], [f.snr for f in found]
    cells = []
    for values, form in zip(figures, (".0f", ".0f", ".1f"), strict=True):
        spread = f" ({min(values):{form}} to {max(values):{form}})" if len(values) > 1 else ""
        cells.append(f"{np.median(values):{form}}{spread}")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    rng = np.random.default_rng(0)
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "ai-edge-litert"))
    lines = [
        "# How many images calibrate",
        "",
        f"By `make calibration`, {date.today()}; {packages}; {processor()}.",
        "The hosted MobileNets as .tflite files in int8. 100 photographs judge; others, as many as a row says, or",
        f"other images, calibrate: medians of {DRAWS} draws, with the lowest and the highest. Top-1 is in points of",
        "100 photographs, so one photograph is a point.",
    ]
    for name in HOSTED:
        model, prepare = hosted(name)
        x, y = as_inputs(prepare)
        judge, others = (x[1::2], y[1::2]), x[::2]
        rows = {
            f"{count} photographs": [others[rng.permutation(100)[:count]] for _ in range(DRAWS)] for count in COUNTS
        }
        rows["100 photographs"] = [others]
        rows["100 of CIFAR-10, 32 x 32"] = [np.stack([prepare(image) for image in of_cifar(100)])]
        for kind, squares in (("noise", 256), ("blots of colour", 6), ("one colour each", 1)):
            rows[f"100 generated, {kind}"] = [np.stack([prepare(image) for image in generated(squares, 100)])]
        top1 = 100 * (model.predict(judge[0], verbose=0).argmax(-1) == judge[1]).mean()
        lines += ["", f"{name}, top-1 {top1:.0f} in float:", ""]
        lines += ["| calibrated with | same answer, % | top-1 | dB |", "|---|---:|---:|---:|"]
        for label, draws in rows.items():
            lines.append(row(label, model, draws, judge))
            print(lines[-1], flush=True)
    write_file(PAGE, lambda part: part.write_text("\n".join(lines) + "\n", encoding="utf-8"))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
