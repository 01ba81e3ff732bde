"""Every network of `keras.applications` exported in float32 and int8, and trained quantised.

    python benchmarks/applications.py              # all that have no row yet, giants last; hours on 2 cores
    python benchmarks/applications.py Xception     # these again
    python benchmarks/applications.py --report     # benchmarks/applications.md, from the rows

Each network runs in a process of its own and appends a row to applications.jsonl, so that the command resumes.

Nothing is downloaded: weights are random, batch norm's statistics are those of the images, and the classifier is fitted
by ridge regression on the features of half of the images. The images are five coarse patterns of colour with noise, one
a class, so that a trained classifier is sure of each. Agreement is counted on the other half.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import types
from datetime import date
from pathlib import Path

HERE = Path(__file__).parent
ROWS, TABLE = HERE / "applications.jsonl", HERE / "applications.md"
CLASSES, PER_CLASS, SIDE = 5, 24, 64
SIDES = {"Xception": 71, "InceptionV3": 75, "InceptionResNetV2": 75}  # the smallest that they take
GIANTS = ("ResNet152", "ResNet152V2", "DenseNet201", "EfficientNetB6", "EfficientNetB7", "NASNetLarge")
GIANTS += ("EfficientNetV2M", "EfficientNetV2L", "ConvNeXtLarge", "ConvNeXtXLarge")
LIMIT = 3600  # seconds per network


def networks() -> list[str]:
    """The builders of `keras.applications`, giants last."""
    import keras

    found = [name for name, value in vars(keras.applications).items() if isinstance(value, types.FunctionType)]
    return sorted(found, key=lambda name: (name in GIANTS, name))


def images(side, pixels):
    """Images (n, side, side, 3), pixels 0..255 or -1..1, and their classes (n,)."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)

    def blots(n, coarse):
        return tf.image.resize(rng.normal(size=(n, coarse, coarse, 3)), (side, side), "bicubic").numpy()

    labels = np.arange(CLASSES * PER_CLASS) % CLASSES
    x = blots(CLASSES, 4)[labels] + 0.02 * blots(len(labels), 8) + 0.01 * rng.normal(size=(len(labels), side, side, 3))
    x = np.clip(x / 2, -1, 1)
    return (127.5 * (x + 1) if pixels else x).astype(np.float32), labels


def network(name):
    """A network, its images and their classes."""
    import keras
    import numpy as np

    from keras_inception.model_graph import call_of
    from keras_inception.outputs import classifier_of, main_output

    keras.utils.set_random_seed(0)
    side = SIDES.get(name, SIDE)
    model = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=CLASSES)
    inside = any(isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization) for layer in model.layers)
    x, y = images(side, inside)
    half = len(x) // 2
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    if norms:
        model(x[:half], training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    classifier = classifier_of(main_output(model))
    backbone = keras.Model(model.input, call_of(classifier.output).inputs[0])
    features = backbone.predict(x[:half], verbose=0).reshape(half, -1).astype(np.float64)
    centre = features.mean(0)
    features -= centre
    gram = features @ features.T
    target = 8 * (np.eye(CLASSES)[y[:half]] - 1 / CLASSES)
    kernel = features.T @ np.linalg.solve(gram + 1e-2 * np.trace(gram) / half * np.eye(half), target)
    classifier.kernel.assign(kernel.reshape(classifier.kernel.shape))
    classifier.bias.assign(-centre @ kernel)
    return model, x, y, half


def measure(name):
    """The row of a network: what each road gives, or the line with which it refuses."""
    from keras_inception import export
    from keras_inception.errors import InputError
    from keras_inception.export.tflite.flatbuffer import float_operators

    model, x, y, half = network(name)
    train, test = (x[:half], y[:half]), (x[half:], y[half:])
    row = {"network": name, "side": x.shape[1], "parameters": model.count_params()}

    def exported(path, quantization, **options):
        export.to_tflite(model, path, quantization=quantization, **options)
        return export.agreement(path, model, test)

    def trained(path):
        settings = export.FineTuning(epochs=1, batch_size=12, learning_rate=1e-6)
        export.quantize_aware(model, train, path, training=settings)
        return export.agreement(path, model, test)

    with tempfile.TemporaryDirectory() as folder:
        roads = {
            "float": lambda path: exported(path, "none"),
            "int8": lambda path: exported(path, "int8", calibration=train[0]),
            "qat": trained,
        }
        for road, run in roads.items():
            path, began = Path(folder) / f"{road}.tflite", time.monotonic()
            try:
                found = run(path)
            except InputError as error:
                row[road] = {"refused": str(error)}
                continue
            row["top1"] = found.keras_top1
            row[road] = {
                "agreement": found.agreement,
                "difference": found.max_difference,
                "bytes": found.bytes,
                "float": sorted(set(float_operators(path.read_bytes()))) if road != "float" else [],
                "seconds": round(time.monotonic() - began),
            }
    return row


def run(name):
    """Measure a network in another process; an error that is no InputError is its row, too."""
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--row", name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT, env=os.environ | threads, check=False
        )
    except subprocess.TimeoutExpired:
        return {"network": name, "failed": f"not done after {LIMIT} s"}
    if done.returncode:
        last = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        return {"network": name, "failed": last[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def rows():
    """The last row of each network."""
    lines = ROWS.read_text().splitlines() if ROWS.exists() else []
    return {row["network"]: row for row in map(json.loads, lines)}


def cell(result):
    """What a road gave, as a cell of the table."""
    if "refused" in result:
        return f"refused: {result['refused'].split(':')[0]}"
    left = f"; float: {', '.join(result['float'])}" if result["float"] else ""
    return f"{result['agreement']:.1%}{left}"


def report():
    from keras_inception.run import versions

    found = rows()
    table = []
    for name in sorted(found):
        row = found[name]
        if "failed" in row:
            table.append(f"| {name} | | | {row['failed']} | | | |")
            continue
        seconds = sum(row[road].get("seconds", 0) for road in ("float", "int8", "qat"))
        cells = [cell(row[road]) for road in ("float", "int8", "qat")]
        table.append(
            f"| {name} | {row['side']} | {row['parameters']:,} | {' | '.join(cells)} | {seconds:,} |",
        )
    missing = [name for name in networks() if name not in found]
    TABLE.write_text(
        f"""# keras.applications, exported

By `make applications`, {date.today()}; {platform.machine()}, {os.cpu_count()} cores, one thread a network;
{", ".join(f"{k} {v}" for k, v in versions().items())}.

Each network of `keras.applications` with {CLASSES} classes, random weights, batch norm's statistics of the images and a
fitted classifier (`benchmarks/applications.py` has the recipe). The cells are the share of {CLASSES * PER_CLASS // 2}
images for which the .tflite file predicts the class that the Keras model predicts: in float32, in int8 after training,
and after an epoch of `quantize_aware`. "float:" lists the operators of an int8 file that compute in float; "refused" is
the beginning of the error. Random weights amplify rounding more than trained ones do.

| network | pixels | parameters | float32 | int8 | trained quantised | seconds |
|---|---:|---:|---|---|---|---:|
{chr(10).join(table)}

{f"Not measured yet: {', '.join(missing)}." if missing else f"All {len(found)} networks are measured."}
"""
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks; by default those without a row")
    parser.add_argument("--row", action="store_true", help="measure one network in this process and print its row")
    parser.add_argument("--report", action="store_true", help="only write the table")
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(measure(arguments.names[0])))
        sys.exit()
    for name in [] if arguments.report else arguments.names or networks():
        if arguments.names or name not in rows():
            row = run(name)
            with ROWS.open("a") as file:
                print(json.dumps(row), file=file)
            print(row, flush=True)
    report()
