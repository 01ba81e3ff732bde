"""The metadata of a .tflite file for phone libraries, read back by an independent reader of the schema."""

import io
import zipfile

import flatbuffers
import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from keras_inception import InputError, Preprocessing, export
from keras_inception.export.tflite import mediapipe_metadata, metadata

PREPROCESSING = Preprocessing(size=(8, 12), mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
LABELS = ["rød", "绿", "blue sky"]
ABOUT = export.About(description="Three colours", version="7", author="A. Painter", licence="CC-BY-4.0")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 12, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    return keras.Model(image, layers.Dense(3, activation="softmax")(x), name="colours")


@pytest.fixture(scope="module")
def content(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("metadata") / "phone.tflite"
    return export.to_tflite(model, path, preprocessing=PREPROCESSING, labels=LABELS, about=ABOUT).read_bytes()


class Table:
    """A table by slot numbers, as in metadata_schema.fbs: a reader that shares no code with the package."""

    def __init__(self, content, place=None):
        place = int.from_bytes(content[:4], "little") if place is None else place
        self.table = flatbuffers.table.Table(content, place)

    def _at(self, slot):
        offset = self.table.Offset(4 + 2 * slot)
        assert offset, f"slot {slot} is not there"
        return offset + self.table.Pos

    def text(self, slot):
        return self.table.String(self._at(slot)).decode()

    def byte(self, slot):
        return self.table.Bytes[self._at(slot)]

    def number(self, slot):
        return int.from_bytes(self.table.Bytes[self._at(slot) :][:4], "little")

    def child(self, slot):
        return Table(self.table.Bytes, self.table.Indirect(self._at(slot)))

    def only(self, slot):
        offset = self.table.Offset(4 + 2 * slot)
        assert self.table.VectorLen(offset) == 1
        return Table(self.table.Bytes, self.table.Indirect(self.table.Vector(offset)))

    def floats(self, slot):
        offset = self.table.Offset(4 + 2 * slot)
        start, length = self.table.Vector(offset), self.table.VectorLen(offset)
        return np.frombuffer(self.table.Bytes[start : start + 4 * length], "<f4").tolist()


def test_the_tables_of_the_schema(content):
    described = metadata.read_metadata(content, "TFLITE_METADATA")
    assert described[4:8] == b"M001"
    root = Table(described)
    assert [root.text(slot) for slot in (0, 1, 2, 4, 5)] == [
        "colours",
        "Three colours",
        "7",
        "A. Painter",
        "CC-BY-4.0",
    ]
    graph = root.only(3)
    given, output = graph.only(2), graph.only(3)
    assert (given.text(0), output.text(0)) == ("pixels", "probabilities")
    image = given.child(3)
    assert image.byte(0) == 2  # ImageProperties
    assert image.child(1).byte(0) == 1  # RGB
    assert [image.child(1).child(1).number(slot) for slot in (0, 1)] == [12, 8]  # width, height
    unit = given.only(4)
    assert unit.byte(0) == 1  # NormalizationOptions
    # The means of the channels are in the graph: MediaPipe takes one for all only.
    assert (unit.child(1).floats(0), unit.child(1).floats(1)) == ([0.0], [1.0])
    assert (given.child(5).floats(0), given.child(5).floats(1)) == ([255.0], [0.0])
    assert (output.child(5).floats(0), output.child(5).floats(1)) == ([1.0], [0.0])
    file = output.only(6)
    assert file.text(0) == "labels.txt"
    assert file.byte(2) == 2  # labels of an axis
    assert mediapipe_metadata.normalises(described)


def test_labels_are_appended_to_the_file(content):
    """Where a library maps the file it cannot inflate; and it looks for them from the start of the file on."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        [member] = archive.infolist()
        assert (member.filename, member.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        assert content[member.header_offset :][:4] == b"PK\x03\x04"
    assert mediapipe_metadata.read_labels(content) == LABELS


def test_the_file_still_runs_and_has_our_own_record(content, model):
    assert metadata.read_record(content) == export.Record(
        input="pixels", preprocessing=PREPROCESSING, labels=tuple(LABELS), runtime="1.6"
    )
    interpreter = Interpreter(model_content=content)
    image = np.full((1, 8, 12, 3), 99, np.float32)
    output = interpreter.get_signature_runner()(pixels=image)["probabilities"]
    np.testing.assert_allclose(output, model(PREPROCESSING.normalize(image)), atol=1e-5)


def test_what_is_not_known_is_left_out(model, tmp_path):
    content = export.to_tflite(model, tmp_path / "bare.tflite").read_bytes()
    described = metadata.read_metadata(content, "TFLITE_METADATA")
    assert Table(described).text(0) == "colours"
    assert not mediapipe_metadata.normalises(described)
    assert mediapipe_metadata.read_labels(content) is None


def test_line_breaks_in_labels_become_spaces_for_phone_libraries(model, tmp_path):
    labels = ("a", "b\nc", "$5_$ <b> %s \u2028 ../x")
    content = export.to_tflite(model, tmp_path / "phone.tflite", labels=labels).read_bytes()
    assert metadata.read_record(content).labels == labels
    assert mediapipe_metadata.read_labels(content) == ["a", "b c", "$5_$ <b> %s   ../x"]


@pytest.mark.parametrize(("labels", "words"), [(["a", "", "c"], "blank"), (["a", "b"], "2 labels")])
def test_labels_that_do_not_name_the_classes(model, tmp_path, labels, words):
    with pytest.raises(InputError, match=words):
        export.to_tflite(model, tmp_path / "phone.tflite", labels=labels)
    assert not list(tmp_path.iterdir())
