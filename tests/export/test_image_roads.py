"""One definition of an image: `decode`, the training pipeline, predictors and every exported file see the same."""

import struct
import tarfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

from keras_inception import InputError, Preprocessing, export
from keras_inception.data import as_images, decode, load_folder
from keras_inception.evaluation import KerasPredictor, predict
from keras_inception.export.image_decoder import decode_graph
from keras_inception.outputs import MAIN

from ..image_files import ALPHA, FILES, GREY, INDICES, RGB, RGBA, TURNS, bmp, difference, encoded, exif, gif

# Pillow warns of an EXIF record that is cut.
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")

PREPROCESSING = Preprocessing(size=(16, 16), channels="BGR", mean=(50.0, 60.0, 80.0), std=(57.0, 71.0, 89.0))
LABELS = ("a", "b", "c", "d")
NAMES = list(FILES)


@pytest.fixture(scope="module")
def decoded():
    return {name: decode(content) for name, (content, _) in FILES.items()}


@pytest.fixture(scope="module")
def graph():
    return tf.function(decode_graph, [tf.TensorSpec((), tf.string)], autograph=False)


@pytest.fixture(scope="module")
def predictor():
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 3))
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, 2, activation="relu")(x)
    x = layers.Dense(4, activation="softmax", name="predictions")(layers.Flatten()(x))
    return KerasPredictor(model=keras.Model(image, x), labels=LABELS, preprocessing=PREPROCESSING)


@pytest.fixture(scope="module")
def known(predictor):
    return {"model_or_run": predictor.model, "labels": LABELS, "preprocessing": PREPROCESSING}


@pytest.fixture(scope="module")
def saved(known, tmp_path_factory):
    return export.to_saved_model(path=tmp_path_factory.mktemp("saved") / "model", **known)


@pytest.fixture(scope="module")
def signatures(saved):
    return tf.saved_model.load(str(saved)).signatures


@pytest.fixture(scope="module")
def probabilities(predictor):
    """What the Keras model gives for each file, (n, classes)."""
    split, names, rejected = as_images([content for content, _ in FILES.values()])
    assert (len(names), rejected) == (len(FILES), ())
    found = predictor.probabilities(split)[MAIN]
    assert found.std(axis=0).min() > 0.03  # files that differ have different probabilities
    return found


def test_the_graph_decodes_as_decode_does(decoded, graph):
    differ = {name: difference(graph(content).numpy(), decoded[name]) for name, (content, _) in FILES.items()}
    assert {name: found for name, found in differ.items() if found not in (0, 1)} == {}


def test_batches_for_training_and_evaluation(decoded, tmp_path):
    for i, (name, (content, _)) in enumerate(FILES.items()):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[i % 2] / name).write_bytes(content)
    dataset = load_folder(tmp_path)
    assert dataset.rejected == ()
    for split in (dataset.train, dataset.val):
        want = [PREPROCESSING(decoded[path.name]) for path in split.sources]
        found = np.concatenate([x for x, _ in split.batches(PREPROCESSING, 32)])
        np.testing.assert_allclose(found, want, atol=1e-4)


def test_the_signature_for_files_agrees_with_the_one_for_pixels(signatures, decoded, probabilities):
    files = tf.constant([content for content, _ in FILES.values()])
    found = signatures["encoded"](image_bytes=files)["probabilities"]
    np.testing.assert_allclose(found, probabilities, atol=0.01)  # one grey level
    exact = [name for name, (_, shown) in FILES.items() if shown is not None and ALPHA.shape == shown.shape[:2]]
    pixels = tf.constant(np.stack([decoded[name] for name in exact]))
    places = [NAMES.index(name) for name in exact]
    found = signatures["serving_default"](image=pixels)["probabilities"]
    np.testing.assert_allclose(found, probabilities[places], atol=1e-5)
    found = signatures["preprocessed"](input=np.stack([PREPROCESSING(decoded[name]) for name in NAMES]))
    np.testing.assert_allclose(found["probabilities"], probabilities, atol=1e-5)


def test_predictors_of_files_and_arrays(known, saved, decoded, probabilities, tmp_path):
    lite = export.to_tflite(path=tmp_path / "model.tflite", **known)
    split = as_images([content for content, _ in FILES.values()])[0]
    arrays = as_images(list(decoded.values()))[0]
    for path in (saved, lite):
        file = export.open_predictor(path)
        for images in (split, arrays):
            np.testing.assert_allclose(file.probabilities(images)[MAIN], probabilities, atol=1e-5)


def test_arrays_of_grey_images_are_as_their_files(predictor):
    content = encoded(Image.fromarray(GREY), "PNG")
    results = predict(predictor, [content, GREY, GREY[..., None], np.repeat(GREY[..., None], 3, -1)])
    assert len({result.probabilities for result in results}) == 1


@pytest.mark.parametrize("channels", [2, 4])
def test_arrays_with_alpha_are_refused(channels, predictor):
    image = RGBA[..., :channels]
    for images in (image, image[None], [RGB, image]):
        with pytest.raises(InputError, match=rf"got \(.*, {channels}\): composite alpha on white first"):
            predict(predictor, images)
    with pytest.raises(InputError, match=f"images are RGB.*; got {channels} channels"):
        PREPROCESSING(image)


@pytest.mark.parametrize("orientation", TURNS)
def test_big_files_with_many_segments(orientation, graph):
    """A photograph's: a preview in EXIF, a colour profile in several segments, a picture after the end."""
    content = encoded(Image.fromarray(RGB), "JPEG", exif=exif(orientation), icc_profile=bytes(200_000))
    assert difference(graph(content + content).numpy(), decode(content + content)) <= 1


# ---------------------------------------------------------------------------------------- what one or both refuse


def cut(name, missing):
    return FILES[name][0][:-missing]


def declaring(name, at, sides):
    """A small file with a header that declares 81 million pixels."""
    content = FILES[name][0]
    return content[:at] + sides + content[at + len(sides) :]


SIDE = 9000
LARGE = {
    "JPEG": declaring("plain.jpg", FILES["plain.jpg"][0].index(b"\xff\xc0") + 5, struct.pack(">HH", SIDE, SIDE)),
    "PNG": declaring("rgb.png", 16, struct.pack(">II", SIDE, SIDE)),
    "GIF": declaring("plain.gif", 6, struct.pack("<HH", SIDE, SIDE)),
    "BMP": declaring("rgb.bmp", 18, struct.pack("<II", SIDE, SIDE)),
    "lossy WebP": declaring("lossy.webp", 26, struct.pack("<HH", SIDE, SIDE)),
    "lossless WebP": declaring("lossless.webp", 21, struct.pack("<I", SIDE - 1 | SIDE - 1 << 14)),
    "animated WebP": declaring("animated.webp", 24, 2 * (SIDE - 1).to_bytes(3, "little")),
}

REFUSED = {
    "no image": b"Dear Sir or Madam",
    "one byte": b"\xff",
    "only a JPEG's start": b"\xff\xd8\xff",
    "JPEG without its end": cut("plain.jpg", 2),
    "JPEG cut": cut("trailing.jpg", 60),
    "progressive JPEG cut": cut("progressive.jpg", 30),
    "PNG without the last checksum": cut("rgba.png", 1),
    "PNG without its end": cut("rgba.png", 12),
    "animated PNG without its end": cut("animated.png", 12),
    "PNG cut": cut("rgb_16.png", 40),
    "GIF without a frame": FILES["comment.gif"][0][:61] + b";",
    "GIF cut": cut("plain.gif", 60),
    "BMP cut": cut("palette_4.bmp", 20),
    "BMP header": FILES["rgb.bmp"][0][:20],
    "WebP cut": cut("lossless.webp", 10),
    "TIFF": encoded(Image.fromarray(RGB), "TIFF"),
    "AVIF": encoded(Image.fromarray(RGB), "AVIF"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_decode_refuses_a_server_refuses_too(name, graph):
    with pytest.raises(InputError):
        decode(REFUSED[name])
    with pytest.raises(tf.errors.InvalidArgumentError):
        graph(REFUSED[name])


@pytest.mark.parametrize("name", LARGE)
def test_what_declares_too_many_pixels_is_refused_before_it_is_decoded(name, graph):
    with pytest.raises(InputError):
        decode(LARGE[name])
    with pytest.raises(tf.errors.InvalidArgumentError, match="declares no pixels, or more than 67 million"):
        graph(LARGE[name])


def colours_16(levels):
    return b"".join(struct.pack("<H", int(v)) for v in levels.ravel())


ONLY_DECODE = {
    "BMP of 16 bits": (
        bmp(np.frombuffer(colours_16(INDICES.astype("u2")), np.uint8).reshape(*INDICES.shape, 2), 16),
        "a BMP image that is compressed, or of 16 bits",
    ),
    "GIF after a comment of 10,000 blocks": (
        gif(INDICES, extra=b"\x21\xfe" + b"\1x" * 10_000 + b"\0"),
        "a GIF image without a frame",
    ),
    "GIF without the end of its frame": (cut("plain.gif", 2), "Invalid GIF data"),
}


@pytest.mark.parametrize("name", ONLY_DECODE)
def test_what_a_server_alone_refuses_is_said(name, graph):
    content, message = ONLY_DECODE[name]
    decode(content)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        graph(content)


def test_one_bad_file_names_its_fault(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="not a JPEG, PNG, BMP, GIF or WebP image"):
        signatures["encoded"](image_bytes=tf.constant([FILES["plain.jpg"][0], b"<html>"]))


def test_the_saved_graph_has_plain_operators(signatures):
    graph = signatures["encoded"].graph.as_graph_def()
    operators = {node.op for function in graph.library.function for node in function.node_def}
    assert {"DecodeJpeg", "DecodePng", "DecodeImage"} <= operators
    assert not [op for op in operators if "PyFunc" in op or "Xla" in op]


def test_photographs(data_folder, graph):
    with tarfile.open(data_folder / "imagenet_sample_200.tar") as archive:
        members = [member for member in archive if member.isfile() and member.size < 200_000][:20]
        contents = [archive.extractfile(member).read() for member in members]
    assert len(contents) == 20
    assert max(difference(graph(content).numpy(), decode(content)) for content in contents) <= 1
