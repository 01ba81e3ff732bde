"""SavedModels as servers load and call them: the requests of each service, to a stand-in for TensorFlow Serving."""

import base64
import io
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

from keras_inception import InputError, Preprocessing, cli, export
from keras_inception.data import as_images
from keras_inception.evaluation import predict

from .tf_serving import Server

LABELS = ("a", "b\nc", "$5_$")
KNOWN = {"labels": LABELS, "preprocessing": Preprocessing(size=(16, 16), mean=(9.0, 8.0, 7.0), std=(50.0, 60.0, 70.0))}
PREDICT = "/v1/models/flowers:predict"


@pytest.fixture(scope="module")
def model():
    """Says which colour an image has most of."""
    image = keras.Input((16, 16, 3))
    x = layers.DepthwiseConv2D(3, depthwise_initializer="ones")(image)
    x = layers.Rescaling(0.02)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(3, "softmax", kernel_initializer="identity")(x))


@pytest.fixture(scope="module")
def place(model, tmp_path_factory):
    """Exported, then moved to where a server expects it: version 10 is newer than version 9."""
    place = tmp_path_factory.mktemp("serving")
    served = place / "served"
    export.to_saved_model(model, place / "pixels", **KNOWN)
    export.to_saved_model(model, place / "files", serving_default="encoded", **KNOWN)
    export.to_saved_model(model, place / "bare")
    for name, folder in (("pixels", "flowers/9"), ("files", "flowers/10"), ("bare", "bare/1")):
        (served / folder).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(place / name, served / folder)
    (served / "flowers" / "notes").mkdir()
    return served


@pytest.fixture(scope="module")
def server(place):
    with Server(place) as server:
        yield server


@pytest.fixture(scope="module")
def files():
    """Images of several sizes and colours, as the files that a client sends."""
    found = []
    for size, colour, kind in (((30, 20), "red", "JPEG"), ((16, 16), "lime", "PNG"), ((9, 40), "blue", "BMP")):
        file = io.BytesIO()
        Image.new("RGB", size, colour).save(file, kind)
        found.append(file.getvalue())
    return found


@pytest.fixture(scope="module")
def want(place, files):
    """What a client expects: the predictions of the file that is served, in this process."""
    found = predict(export.open_predictor(place / "flowers" / "9"), files, top=1)
    assert len({prediction.labels for prediction in found}) == 3
    return found


def b64(content):
    return {"b64": base64.b64encode(content).decode()}


def check(rows, want):
    assert [row["label"] for row in rows] == [prediction.labels[0] for prediction in want]
    best = [max(row["probabilities"]) for row in rows]
    assert best == pytest.approx([prediction.probabilities[0] for prediction in want], abs=1e-5)
    assert all(set(row) == {"label", "probabilities"} and len(row["probabilities"]) == 3 for row in rows)


REQUESTS = {
    "Vertex AI": lambda files: {"instances": [{"image_bytes": b64(file)} for file in files]},
    "one input without its name": lambda files: {"instances": [b64(file) for file in files]},
    "KServe v1": lambda files: {
        "signature_name": "encoded",
        "instances": [{"image_bytes": b64(file)} for file in files],
    },
}


@pytest.mark.parametrize("name", REQUESTS)
def test_rows(name, server, files, want):
    status, reply = server.post(PREDICT, REQUESTS[name](files))
    assert status == 200, reply
    check(reply["predictions"], want)


@pytest.mark.parametrize("given", [lambda files: {"image_bytes": list(map(b64, files))}, lambda f: list(map(b64, f))])
def test_columns(given, server, files, want):
    status, reply = server.post(PREDICT, {"inputs": given(files)})
    assert status == 200, reply
    outputs = reply["outputs"]
    check([dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)], want)


def test_pixels(server, files, want):
    """SageMaker's clients send arrays. Images of one request have one size."""
    first = as_images([files[0]])[0].image(0).tolist()
    for path, request in (
        ("/v1/models/flowers/versions/9:predict", {"instances": [first, first]}),
        (PREDICT, {"signature_name": "image", "instances": [{"image": first}, {"image": first}]}),
    ):
        status, reply = server.post(path, request)
        assert status == 200, reply
        check(reply["predictions"], [want[0]] * 2)
    status, reply = server.post(PREDICT, {"signature_name": "image", "instances": [first, first[1:]]})
    assert status == 400
    assert "unexpected size" in reply["error"]


def test_without_labels_a_row_is_its_probabilities(server, model):
    inputs = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    status, reply = server.post("/v1/models/bare:predict", {"instances": inputs.tolist()})
    assert status == 200, reply
    np.testing.assert_allclose(reply["predictions"], model(inputs).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("path", "request_of", "status", "words"),
    [
        (PREDICT, lambda file: {"instances": [b64(b"GIF or not")]}, 400, "image"),  # the decoder's own words
        (PREDICT, lambda file: {"instances": [b64(file[: len(file) // 2])]}, 400, ""),
        (PREDICT, lambda file: {"instances": [b64(b"")]}, 400, ""),
        (PREDICT, lambda file: {"instances": [{"b64": "%%%"}]}, 400, "Unable to base64 decode"),
        (PREDICT, lambda file: {"instances": [{"content": b64(file)}]}, 400, "keys must be equal to: image_bytes"),
        (PREDICT, lambda file: {"instances": []}, 400, "No values in 'instances' array"),
        (PREDICT, lambda file: {"signature_name": "jpeg", "instances": [b64(file)]}, 400, '"jpeg" not found'),
        (PREDICT, lambda file: {"signature_name": "image", "instances": [b64(file)]}, 400, "expected type: uint8"),
        (PREDICT, lambda file: {"signature_name": "image", "instances": [[[[9, 9, 9, 255]]]]}, 400, "[?,?,?,3]"),
        ("/v1/models/roses:predict", lambda file: {"instances": [b64(file)]}, 404, "not found"),
        ("/v2/models/flowers/infer", lambda file: {"inputs": []}, 404, "Not Found"),  # KServe v2 is not TF Serving's
    ],
)
def test_a_bad_request_is_an_error_and_the_server_lives(path, request_of, status, words, server, files, want):
    code, reply = server.post(path, request_of(files[0]))
    assert code == status
    assert words in reply["error"]
    check(server.post(PREDICT, {"instances": [b64(files[0])]})[1]["predictions"], want[:1])


def test_the_stand_in_wants_one_row_an_image_in_every_output(tmp_path):
    module = tf.Module()
    spec = tf.TensorSpec((None,), tf.float32, name="x")
    module.f = tf.function(lambda x: {"a": x, "classes": tf.constant(["all", "the", "labels"])}, [spec])
    tf.saved_model.save(module, str(tmp_path / "old" / "1"), module.f)
    with Server(tmp_path) as server:
        status, reply = server.post("/v1/models/old:predict", {"instances": [1.0, 2.0]})
        assert status == 400
        assert "classes has inconsistent batch size: 3 expecting: 2" in reply["error"]
        assert server.post("/v1/models/old:predict", {"inputs": [1.0, 2.0]})[0] == 200


@pytest.mark.parametrize("n", [1, 3])
def test_every_output_of_every_signature_has_a_row_an_image(n, place, files):
    inputs = {
        "image": tf.zeros((n, 30, 40, 3), tf.uint8),
        "image_bytes": tf.constant(files[:n]),
        "input": tf.zeros((n, 16, 16, 3)),
    }
    for folder in ("flowers/9", "flowers/10", "bare/1"):
        signatures = tf.saved_model.load(str(place / folder)).signatures
        taken = {name: next(iter(f.structured_input_signature[1])) for name, f in signatures.items()}
        default = {"flowers/9": "image", "flowers/10": "image_bytes", "bare/1": "input"}[folder]
        named = {"image": "image", "encoded": "image_bytes", "preprocessed": "input"} if folder != "bare/1" else {}
        assert taken == named | {"serving_default": default}
        for name, signature in signatures.items():
            outputs = signature(**{taken[name]: inputs[taken[name]]})
            assert {output: values.shape[0] for output, values in outputs.items()} == dict.fromkeys(outputs, n)
            assert set(outputs) == ({"probabilities", "label"} if named else {"probabilities"})


def test_labels_are_beside_the_record(place):
    extra = place / "flowers" / "10" / "assets.extra"
    assert (extra / "labels.txt").read_text(encoding="utf-8").splitlines() == ["a", "b c", "$5_$"]
    assert export.open_predictor(place / "flowers" / "10").labels == LABELS
    assert not (place / "bare" / "1" / "assets.extra" / "labels.txt").exists()


def test_the_default_signature_must_exist(model, tmp_path):
    with pytest.raises(InputError, match="serving_default must be 'image', 'encoded' or 'preprocessed'; got 'jpeg'"):
        export.to_saved_model(model, tmp_path / "x", serving_default="jpeg", **KNOWN)
    with pytest.raises(InputError, match=r"'encoded' preprocesses images: give preprocessing="):
        export.to_saved_model(model, tmp_path / "x", serving_default="encoded")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "use",
    [
        lambda folder, model: export.open_predictor(folder),
        lambda folder, model: cli.measuring.opened(folder),
        lambda folder, model: export.agreement(folder, model, np.zeros((1, 16, 16, 3), np.float32)),
        lambda folder, model: export.benchmark([folder]),
    ],
)
def test_a_folder_of_versions_is_not_one_of_them(use, place, model):
    with pytest.raises(InputError, match=r"flowers holds versions of a SavedModel: give one .* the newest, .*/10$"):
        use(place / "flowers", model)


def test_grpc(place, files, want):
    """The names of the signature are the keys of a `PredictRequest`."""
    protocol = pytest.importorskip(
        "tensorflow_serving.apis.predict_pb2", reason="pip install --no-deps tensorflow-serving-api"
    )
    request = protocol.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "flowers", "encoded"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(files))
    received = protocol.PredictRequest.FromString(request.SerializeToString())
    signature = tf.saved_model.load(str(place / "flowers" / "10")).signatures[received.model_spec.signature_name]
    inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in received.inputs.items()}
    reply = protocol.PredictResponse()
    for key, value in signature(**inputs).items():
        reply.outputs[key].CopyFrom(tf.make_tensor_proto(value))
    labels, rows = (tf.make_ndarray(reply.outputs[key]) for key in ("label", "probabilities"))
    check([{"label": label.decode(), "probabilities": row} for label, row in zip(labels, rows, strict=True)], want)
