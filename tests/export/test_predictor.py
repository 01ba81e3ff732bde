"""Exported files that take the place of a run: the same outputs by the same names."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_inception import InputError, Preprocessing, export
from keras_inception.data import from_arrays
from keras_inception.evaluation import scores

PREPROCESSING = Preprocessing(size=(16, 16), channels="BGR", mean=(50.0, 60.0, 80.0), std=(57.0, 71.0, 89.0))
LABELS = ("a", "b\nc", "$5_$")
KNOWN = {"preprocessing": PREPROCESSING, "labels": LABELS}


def head(x, name):
    return layers.Dense(3, activation="softmax", name=name)(layers.GlobalAveragePooling2D()(x))


def network(exits):
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    first = layers.Conv2D(8, 3, 2, activation="relu")(image)
    second = layers.Conv2D(8, 3, activation="relu")(first)
    if not exits:
        return keras.Model(image, head(second, "predictions"))
    outputs = {"exit_1": head(image, "early"), "exit_2": head(first, "later"), "predictions": head(second, "last")}
    return keras.Model(image, outputs)


@pytest.fixture(scope="module")
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 20, 24, 3)).astype(np.uint8)
    return from_arrays(pixels, np.arange(60) % 3, LABELS).val


WRITERS = {
    "saved_model": lambda model, path, images: export.to_saved_model(model, path, **KNOWN),
    "tflite": lambda model, path, images: export.to_tflite(model, path, **KNOWN),
    "int8": lambda model, path, images: export.to_tflite(
        model, path, quantization="int8", calibration=images, edge="uint8", batch=5, **KNOWN
    ),
    "onnx": lambda model, path, images: export.to_onnx(model, path.with_suffix(".onnx"), **KNOWN),
    "openvino": lambda model, path, images: export.to_openvino(model, path, **KNOWN),
}


@pytest.mark.parametrize("exits", [False, True])
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_predicts_as_the_network_does(name, exits, images, tmp_path):
    for package in {"onnx": ["tf2onnx", "onnx", "onnxruntime"], "openvino": ["openvino"]}.get(name, []):
        pytest.importorskip(package)
    model = network(exits)
    file = export.open_predictor(WRITERS[name](model, tmp_path / "file", images))
    assert file.labels == LABELS
    assert file.preprocessing == PREPROCESSING
    found = file.probabilities(images)
    want = model.predict(np.stack([PREPROCESSING(images.image(i)) for i in range(len(images))]), verbose=0)
    want = want if exits else {"predictions": want}
    assert set(found) == (set(want) if "tflite" in file.file.format else {"predictions"})
    for output, values in found.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, want[output], atol=0.03 if name == "int8" else 1e-5)
    agreement = export.agreement(file.file.path, model, images)
    assert agreement.top1 == scores(found["predictions"], images.labels)["top1"]


def test_labels_of_a_file_from_elsewhere(images, tmp_path):
    """The labels that phone libraries read; but nothing says how its images are preprocessed."""
    from keras_inception.export.tflite.mediapipe_metadata import with_labels

    bare = export.to_tflite(network(False), tmp_path / "bare.tflite")
    with pytest.raises(InputError, match=r"bare.tflite holds no class labels: export it from a run, or with labels="):
        export.open_predictor(bare)
    bare.write_bytes(with_labels(bare.read_bytes(), "abc"))
    with pytest.raises(InputError, match=r"does not say how to preprocess images: .* with preprocessing="):
        export.open_predictor(bare)


def test_no_images(images, tmp_path):
    file = export.open_predictor(export.to_tflite(network(False), tmp_path / "file.tflite", **KNOWN))
    with pytest.raises(InputError, match="there are no images to predict"):
        file.probabilities(images.select(np.arange(0)))
