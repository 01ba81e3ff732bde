"""Transfer learning compared with the loop of Keras' guide: same images, backbone, classifier, optimizer and epochs.

    python benchmarks/transfer.py guide    # the backbone is called in every epoch; twice, for half of the epochs each
    python benchmarks/transfer.py ours     # `keras_inception.training.train`: appends a row
    python benchmarks/transfer.py images   # photographs, from random and from hosted weights: appends three rows
    python benchmarks/transfer.py report   # benchmarks/transfer.md, from all rows

MobileNetV2 with Google's hosted weights, on CIFAR-10 images enlarged to 224 x 224. Both are read from the folder
KERAS_INCEPTION_DATA, by default ../shared/data. The guide's loop ("Transfer learning & fine-tuning", keras.io, section
"Freezing layers: understanding the trainable attribute" and its end-to-end example) is used as published, without its
augmentation: decoded images are cached in memory, the backbone is called with training=False, and dropout of 0.2 and a
dense layer are trained with Adam. It needs two calls of `guide`, so that a shared machine is not blocked for long. The
second call resumes from the model of the first. Its first epoch traces the network again and is counted as the median
of the others. A finished measurement appends a row to transfer.jsonl. Our time is all of `train`: checking the files,
the features, a training state per epoch, the measurement of the kept network, and the report with Grad-CAM.
"""

import argparse
import json
import os
import platform
import statistics
import tarfile
import tempfile
import time
from datetime import date
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
DATA = Path(os.environ.get("KERAS_INCEPTION_DATA", HERE.parents[1] / "shared" / "data"))
ROWS = HERE / "transfer.jsonl"
TRAIN, VAL, SIZE, EPOCHS, BATCH = 50, 20, 224, 30, 32  # images per class, pixels
ANIMALS = 398  # ImageNet's first classes
HALF = Path(tempfile.gettempdir()) / "keras_inception_transfer.keras"  # the guide's model after half of the epochs


def cifar_images(folder: Path) -> Path:
    """The first images of each class of CIFAR-10, as train/ and val/."""
    with tarfile.open(DATA / "cifar10_jpg.tar.gz") as archive:
        for member in archive:
            parts = Path(member.name).parts
            if not member.isfile() or len(parts) != 3 or not member.name.endswith(".jpg"):
                continue
            side, kind, name = parts
            if int(Path(name).stem) < {"train": TRAIN, "test": VAL}[side]:
                target = folder / {"train": "train", "test": "val"}[side] / kind / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.extractfile(member).read())
    return folder


def weights(folder: Path) -> Path:
    """Write Google's hosted weights, for ImageNet's classes, as a file of our own."""
    import keras_inception
    from keras_inception.weights import from_tflite

    published = keras_inception.MobileNetV2(input_shape=(SIZE, SIZE, 3))
    from_tflite(published, DATA / "mobilenet_v2_1.0_224_quant.tflite")
    path = folder / "hosted.weights.h5"
    published.save_weights(path)
    return path


def guide(folder: Path, weights: Path) -> dict[str, float] | None:
    """Run half of the epochs of the guide's loop; None after the first half."""
    import keras
    import tensorflow as tf

    import keras_inception

    began, cpu = time.perf_counter(), time.process_time()
    preprocessing = keras_inception.model_info("mobilenet_v2").preprocessing_for((SIZE, SIZE, 3))

    def read(side: str) -> tf.data.Dataset:
        found = keras.utils.image_dataset_from_directory(
            folder / side, image_size=(32, 32), batch_size=None, shuffle=side == "train", seed=0, verbose=False
        )
        found = found.map(lambda x, y: (preprocessing(x), y)).cache()
        return (found.shuffle(TRAIN * 10, seed=0) if side == "train" else found).batch(BATCH).prefetch(10)

    def build() -> keras.Model:
        keras.utils.set_random_seed(0)
        trained = keras_inception.MobileNetV2(classes=10, input_shape=(SIZE, SIZE, 3), weights=weights)
        backbone = keras.Model(trained.input, trained.get_layer("avg_pool").output, name="backbone")
        backbone.trainable = False
        inputs = keras.Input((SIZE, SIZE, 3))
        x = backbone(inputs, training=False)
        x = keras.layers.Dropout(0.2)(x)
        model = keras.Model(inputs, keras.layers.Dense(10)(x))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
        return model

    before = json.loads(HALF.with_suffix(".json").read_text()) if HALF.exists() else None
    model = keras.models.load_model(HALF) if before else build()
    assert len(model.trainable_variables) == 2
    epochs: list[tuple[float, float]] = []  # seconds and CPU seconds
    begun: list[float] = []

    def begin(*_: object) -> None:
        begun[:] = time.perf_counter(), time.process_time()

    def end(*_: object) -> None:
        epochs.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))

    clock = keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_epoch_end=end)
    history = model.fit(
        read("train"), epochs=EPOCHS // 2, validation_data=read("val"), callbacks=[clock], verbose=0
    ).history["val_accuracy"]
    if before is None:
        row = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu, "history": history}
        HALF.with_suffix(".json").write_text(json.dumps(row))
        model.save(HALF)
        return None
    HALF.unlink()
    history = before["history"] + history
    wall, busy = ([epoch[i] for epoch in epochs[1:]] for i in (0, 1))
    return {
        "seconds": before["seconds"] + statistics.median(wall) + sum(wall),
        "cpu": before["cpu"] + statistics.median(busy) + sum(busy),
        "val_accuracy": max(history),
        "last": history[-1],
    }


def ours(folder: Path, weights: Path) -> dict[str, float]:
    """The same with `train`."""
    from keras_inception.training.recipes import Steps
    from keras_inception.training.train import train

    run = train(
        folder,
        out=folder / "run",
        model="mobilenet_v2",
        size=SIZE,
        weights=weights,
        epochs=EPOCHS,
        freeze_epochs=EPOCHS,
        batch_size=BATCH,
        schedule=Steps(()),  # Adam at 0.001 throughout, as in the guide
        options={"dropout": 0.2},
    )
    last = (run.path / "history.csv").read_text().splitlines()
    row = dict(zip(last[0].split(","), last[-1].split(","), strict=True))
    return {"val_accuracy": run.metrics["top1"], "last": float(row["val_accuracy"])}


def images() -> None:
    """Train on 200 photographs of 200 ImageNet classes, labelled animal or object; half of them are held out."""
    from keras_inception.training.train import train

    with tempfile.TemporaryDirectory() as place:
        os.environ["KERAS_INCEPTION_HOME"], folder = place, Path(place) / "photographs"
        with tarfile.open(DATA / "imagenet_sample_200.tar") as archive:
            for member in (member for member in archive if member.isfile()):
                animal = int(Path(member.name).name.split("_")[0]) < ANIMALS
                target = folder / ("animal" if animal else "object") / Path(member.name).name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.extractfile(member).read())
        hosted = weights(Path(place))
        starts = {
            "random": {},
            "backbone frozen": {"freeze_epochs": 8},
            "backbone frozen, then not": {"freeze_epochs": 4},
        }
        for i, (name, how) in enumerate(starts.items()):
            start = {"weights": hosted if how else None, **how}
            settings = {"model": "mobilenet_v2", "size": SIZE, "validation": 0.5, "epochs": 8, **start}
            began = time.perf_counter()
            run = train(folder, out=Path(place) / f"run{i}", batch_size=16, learning_rate=1e-3, **settings)
            row = {"start": name, "seconds": time.perf_counter() - began, "top1": run.metrics["top1"]}
            append(row | {"n": run.metrics["n"], "loss": run.metrics["loss"]})


def append(row: dict[str, float | str]) -> None:
    with ROWS.open("a") as file:
        print(json.dumps(row), file=file)
    print(row, flush=True)


def measure(name: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        os.environ["KERAS_INCEPTION_HOME"] = place  # an empty cache
        folder, start = cifar_images(Path(place) / "images"), weights(Path(place))
        began, cpu = time.perf_counter(), time.process_time()
        if (found := {"guide": guide, "ours": ours}[name](folder, start)) is None:
            print("half of the epochs are done; run the command again")
            return
        append({"loop": name, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu, **found})


def report() -> None:
    from keras_inception.run import versions

    rows = [json.loads(line) for line in ROWS.read_text().splitlines()]
    table: list[str] = []
    medians: dict[str, dict[str, float]] = {}
    for name in ("guide", "ours"):
        mine = [row for row in rows if row.get("loop") == name]
        medians[name] = {k: statistics.median(row[k] for row in mine) for k in ("seconds", "cpu")}
        cells = [", ".join(f"{row[k]:.1f}" for row in mine) for k in ("seconds", "cpu")]
        cells += [", ".join(f"{1 - row['cpu'] / row['seconds'] / os.cpu_count():.0%}" for row in mine)]
        cells += [", ".join(f"{row[k]:.1%}" for row in mine) for k in ("val_accuracy", "last")]
        table.append(f"| {name} | {' | '.join(cells)} |")
    photographs = [
        f"| {row['start']} | {row['top1']:.0%} of {row['n']:.0f} | {row['loss']:.2f} | {row['seconds']:.0f} |"
        for row in rows
        if "start" in row
    ]
    wall, cpu = (medians["guide"][k] / medians["ours"][k] for k in ("seconds", "cpu"))
    (HERE / "transfer.md").write_text(
        f"""# Transfer learning compared with the loop of Keras' guide

{TRAIN * 10} images to train on and {VAL * 10} held out, of CIFAR-10, enlarged to {SIZE} x {SIZE}; MobileNetV2 with
the hosted weights, frozen; {EPOCHS} epochs; batches of {BATCH}; Adam at 0.001. {date.today()}; {platform.machine()},
{", ".join(f"{k} {v}" for k, v in versions().items())}.

| loop | seconds, each run | CPU seconds | {os.cpu_count()} cores idle | held out, best epoch | last epoch |
|---|---|---|---|---|---|
{chr(10).join(table)}

**{wall:.1f} times less wall time, {cpu:.1f} times less CPU time** (medians). `benchmarks/transfer.py` has both loops.
`train` runs the backbone once per image, and once more on the held-out images to measure the kept network. The
guide's loop runs it {EPOCHS} times, so the ratio grows with the number of epochs.

## Photographs

200 photographs of 200 ImageNet classes, labelled animal or object, half of them held out; MobileNetV2, 8 epochs; Adam
at 0.001 with a cosine schedule, a tenth of it for the backbone. Seconds on shared cores.

| start | held-out top-1 | loss | seconds |
|---|---:|---:|---:|
{chr(10).join(photographs)}
"""
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["guide", "ours", "images", "report"])
    what = parser.parse_args().what
    {"images": images, "report": report}.get(what, partial(measure, what))()
