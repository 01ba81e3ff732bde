"""Exported files in MediaPipe Tasks, as an app uses them; `make test-mediapipe` makes the environment."""

import json
import os
import subprocess
import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_inception
from keras_inception import Preprocessing, export
from keras_inception.weights import from_tflite

PYTHON = os.environ.get("MEDIAPIPE_PYTHON")
LIMIT = 120  # seconds: it may hang instead of failing

pytestmark = pytest.mark.skipif(not PYTHON, reason="MEDIAPIPE_PYTHON is not set: run `make test-mediapipe`")


def classified(path: Path, images: np.ndarray, folder: Path, classes: int = 5) -> list:
    """What MediaPipe says of images, uint8 (n, H, W, 3); -1 classes are all."""
    np.save(folder / "images.npy", images)
    script, given = str(Path(__file__).with_name("classify.py")), str(folder / "images.npy")
    command = [PYTHON, script, str(path), given, str(classes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    return json.loads(done.stdout.splitlines()[-1])


# ------------------------------------------------------------------------------------------------------ real images


@pytest.fixture(scope="module")
def photographs(data_folder):
    """200 photographs: their pixels as the network takes them, uint8, and their ImageNet classes with 0 background."""
    prepare = keras_inception.model_info("mobilenet_v2").preprocessing_for(None)
    pixels, labels = [], []
    with tarfile.open(data_folder / "imagenet_sample_200.tar") as archive:
        for member in archive:
            if member.isfile():
                image = tf.io.decode_jpeg(archive.extractfile(member).read(), channels=3)
                pixels.append(np.round(prepare.resize(image).numpy()).astype(np.uint8))
                labels.append(int(Path(member.name).name.split("_")[0]) + 1)
    return np.stack(pixels), np.array(labels), prepare


@pytest.fixture(scope="module")
def mobilenet(data_folder):
    model = keras_inception.create_model("mobilenet_v2", classes=1001)
    from_tflite(model, data_folder / "mobilenet_v2_1.0_224_quant.tflite")
    return model, (data_folder / "imagenet_labels.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("quantization", "edge", "same", "near"),
    [
        ("none", "float32", 1.0, 1e-3),
        ("float16", "float32", 0.99, 0.02),
        ("int8", "float32", 0.9, None),
        ("int8", "uint8", 0.9, None),
    ],
)
def test_mobilenet_on_photographs(photographs, mobilenet, tmp_path, quantization, edge, same, near):
    """`same` is the share of images with Keras' top-1; `near` how far its probability may be from Keras'."""
    (pixels, labels, prepare), (model, names) = photographs, mobilenet
    inputs = prepare.normalize(pixels).numpy()
    path = export.to_tflite(
        model,
        tmp_path / "phone.tflite",
        quantization=quantization,
        calibration=inputs[::2] if quantization == "int8" else None,
        preprocessing=prepare,
        labels=names,
        edge=edge,
        about=export.About(description="ImageNet's classes", licence="Apache-2.0", author="Google"),
    )
    want = model.predict(inputs, batch_size=50, verbose=0)
    answers = classified(path, pixels, tmp_path)
    index, name, score = zip(*(answer[0] for answer in answers), strict=True)
    agreement = np.mean(np.array(index) == want.argmax(-1))
    top1, keras_top1 = np.mean(np.array(index) == labels), np.mean(want.argmax(-1) == labels)
    own = export.agreement(path, model, (inputs, labels))
    print(
        f"{quantization} {edge}: {path.stat().st_size:,} bytes, MediaPipe top-1 {top1:.1%}, LiteRT {own.top1:.1%}, "
        f"Keras {keras_top1:.1%}, MediaPipe and Keras the same {agreement:.1%}, LiteRT and Keras {own.agreement:.1%}"
    )
    assert list(name) == [names[i] for i in index]
    assert agreement >= same
    assert top1 >= keras_top1 - 0.02
    if near:
        np.testing.assert_allclose(score, want[np.arange(len(index)), index], atol=near)


@pytest.mark.parametrize("quantization", ["none", "float16", "int8"])
def test_stretched_photographs_have_the_answers_that_verify_measures(
    data_folder, mobilenet, tmp_path, quantization
) -> None:
    """To 1/256 at the network's size. MediaPipe shrinks larger images without antialiasing: some answers change."""
    (model, names), prepare = mobilenet, keras_inception.model_info("mobilenet_v2").preprocessing_for(None)
    prepare = prepare.with_resize("stretch")
    with tarfile.open(data_folder / "imagenet_sample_200.tar") as archive:
        files = [archive.extractfile(member).read() for member in archive if member.isfile()][::8]
    photographs = [tf.io.decode_jpeg(file, channels=3).numpy() for file in files]
    pixels = np.stack([np.round(prepare.resize(image)).astype(np.uint8) for image in photographs])
    path = export.to_tflite(
        model,
        tmp_path / "phone.tflite",
        quantization=quantization,
        calibration=prepare.normalize(pixels).numpy() if quantization == "int8" else None,
        preprocessing=prepare,
        labels=names,
    )
    run = export.open_predictor(path).file.runners["pixels"]
    want = np.concatenate([run(image[np.newaxis].astype(np.float32)) for image in pixels])
    answers = classified(path, pixels, tmp_path, -1)
    got = np.array([[score for _, _, score in sorted(answer)] for answer in answers])
    np.testing.assert_allclose(got, want, rtol=0, atol=1 / 256)
    whole = [classified(path, image[np.newaxis], tmp_path)[0][0][0] for image in photographs]
    same = np.mean(np.array(whole) == want.argmax(-1))
    print(
        f"{quantization}: largest difference {np.abs(got - want).max():.1e}; of whole photographs {same:.0%} the same"
    )
    assert same >= 0.8


# ------------------------------------------------------------------------------------------------------ small networks


def small(classes=3):
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(image))
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax")(x))


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(size=(16, 16), channels="BGR", mean=(103.9, 116.8, 123.7), std=(1.0, 1.0, 1.0)),
        Preprocessing(size=(16, 16), mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    ],
    ids=["caffe", "torch"],
)
def test_channels_of_their_own_means_and_labels_in_any_script(preprocessing, tmp_path):
    """MediaPipe refuses means that differ by channel: the graph has them."""
    model, names = small(), ["rød", "绿", "blue sky"]
    path = export.to_tflite(model, tmp_path / "phone.tflite", preprocessing=preprocessing, labels=names)
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    want = model.predict(preprocessing.normalize(images), verbose=0)
    for answer, probabilities in zip(classified(path, images, tmp_path), want, strict=True):
        assert [index for index, _, _ in answer] == np.argsort(-probabilities).tolist()
        assert {name: score for _, name, score in answer} == pytest.approx(
            dict(zip(names, probabilities.tolist(), strict=True)), abs=1e-4
        )


def test_what_the_doctor_says_mediapipe_refuses_it_does(tmp_path):
    model = small()
    path = export.to_tflite(model, tmp_path / "bare.tflite")  # no preprocessing: nobody knows how to normalise
    assert any("MediaPipe refuses" in finding.problem for finding in export.doctor(path).findings)
    with pytest.raises(AssertionError, match="NormalizationOptions"):
        classified(path, np.zeros((1, 16, 16, 3), np.uint8), tmp_path)
    image = model.input
    exits = keras.Model(image, {"exit_1": model.output, "predictions": small().layers[-1](model.layers[-2].output)})
    several = export.to_tflite(exits, tmp_path / "exits.tflite", preprocessing=Preprocessing(size=(16, 16)))
    assert any("takes files with one" in finding.problem for finding in export.doctor(several).findings)
    with pytest.raises(AssertionError, match="subgraph"):
        classified(several, np.zeros((1, 16, 16, 3), np.uint8), tmp_path)
