"""A kit for a desk with a phone: files, a script that times them, and complete apps for Android and iOS."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from xml.sax.saxutils import escape

from keras_inception.arguments import checked
from keras_inception.files import new_output
from keras_inception.preprocessing import Preprocessing

from ..app import about_app
from ..inputs import Exportable, ModelOrRun
from ..quantization.calibration import Calibration
from ..tflite.convert import Quantization, to_tflite

MODELS: dict[str, Quantization] = {"int8.tflite": "int8", "float16.tflite": "float16"}  # for CPU and NPU, for GPU
ABOUT = "model.json"
MAIN = Path("android", "app", "src", "main")  # of Gradle's project: where assets and resources go


@checked
def to_phone(
    model_or_run: ModelOrRun,
    folder: str | Path,
    *,
    calibration: Calibration | None = None,
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    title: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a folder for a desk with a phone: .tflite files, a script that times them there, and two apps.

    - `models/`: `int8.tflite` for the CPU and the NPU, `float16.tflite` for the GPU, both of batch 1 with labels
      inside, `labels.txt`, and `model.json`, which tells the apps how an image comes to the network's input.
    - `benchmark.sh`: times the files on a phone with adb and LiteRT's `benchmark_model`; `phone_results` reads what it
      leaves.
    - `android/`: a Gradle project in Kotlin with CameraX and MediaPipe. `ios/`: a SwiftUI app with MediaPipe. Both
      classify images, resized as in training, on the GPU or, if it cannot, on the CPU.

    Args:
        model_or_run: a functional model, a run or a run directory, whose images are RGB or grey.
        folder: the folder to write.
        calibration: images for int8, as in `to_tflite`; the default for a run is its training images.
        preprocessing: what the network was trained with; a run knows it.
        labels: class names in the order of the outputs; a run knows them.
        title: the name of the app; None is the network's name.
        overwrite: replace a kit at `folder`, with the results in it, after the new one is complete.

    Raises:
        InputError: the model or an argument cannot be used, it has no labels or no preprocessing or gives no
            probabilities, or `folder` exists or cannot be written; nothing is left.
    """
    folder = Path(folder)
    source = Exportable.of(model_or_run, labels=labels, preprocessing=preprocessing)
    about = about_app(source, title, "phone kit")
    with new_output(folder, overwrite=overwrite, kind="phone kit of this package", is_kind=is_kit) as part:
        with as_file(files(__package__).joinpath("kit")) as kit:
            shutil.copytree(kit, part)
        models, assets = part / "models", part / MAIN / "assets"
        models.mkdir()
        for name, quantization in MODELS.items():
            to_tflite(
                model_or_run,
                models / name,
                quantization=quantization,
                calibration=calibration if quantization == "int8" else None,
                preprocessing=preprocessing,
                labels=labels,
                exits=False,
            )
        (models / "labels.txt").write_text("".join(f"{label}\n" for label in about["labels"]), encoding="utf-8")
        content = json.dumps({"kit": "keras_inception", **about}, indent=1, ensure_ascii=False)
        (models / ABOUT).write_text(content + "\n", encoding="utf-8")
        assets.mkdir()
        for name in (*MODELS, ABOUT):
            shutil.copyfile(models / name, assets / name)
        strings = part / MAIN / "res" / "values" / "strings.xml"
        strings.parent.mkdir(parents=True)
        strings.write_text(_strings(about["title"]), encoding="utf-8")
    return folder


def is_kit(folder: Path) -> bool:
    """Whether a folder was written by `to_phone`."""
    try:
        about = json.loads((folder / "models" / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and about.get("kit") == "keras_inception"


def _strings(name: str) -> str:
    """Android's text resources. Within double quotes it keeps spaces, apostrophes and a first @ or ? as they are."""
    text = escape(" ".join(name.split())).replace("\\", "\\\\").replace('"', '\\"')
    resource = f'    <string name="app_name">"{text}"</string>'
    return f'<?xml version="1.0" encoding="utf-8"?>\n<resources>\n{resource}\n</resources>\n'
