"""The page of a run, Grad-CAM, calibration, and the history as TensorBoard reads it."""

import base64
import dataclasses
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_inception.analysis.saliency import grad_cam, last_map
from keras_inception.data import Augmentation, Dataset, Split
from keras_inception.data.augmentation import to_record
from keras_inception.errors import InputError
from keras_inception.evaluation import scores
from keras_inception.preprocessing import scaled
from keras_inception.report import figures, page
from keras_inception.report.charts import calibration_error, confusion_chart, reliability, shortened
from keras_inception.report.contact_sheet import contact_sheet
from keras_inception.run import Run
from keras_inception.training.tensorboard import NAME, write_events


def network(*exits: str, classes: int = 2) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="early")(inputs)
    x = keras.layers.Conv2D(5, 3, activation="relu", name="late")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    logits = keras.layers.Dense(classes, name="logits")(x)
    outputs = {name: keras.layers.Activation("softmax", name=name)(logits) for name in ("predictions", *exits)}
    return keras.Model(inputs, outputs if exits else outputs["predictions"])


def test_grad_cam_by_hand() -> None:
    """Behind a global average and a dense layer it is the dense layer's weights over the map: CAM, times 1 / places."""
    model = network()
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    maps = np.asarray(keras.Model(model.input, model.get_layer("late").output)(x))
    kernel = model.get_layer("logits").get_weights()[0]
    for classes in ([0, 0], [1, 0]):
        cam = np.maximum(np.einsum("nhwc,nc->nhw", maps, kernel[:, classes].T), 0)
        found = grad_cam(model, x, np.array(classes))
        np.testing.assert_allclose(found, cam / np.maximum(cam.max((1, 2), keepdims=True), 1e-12), atol=1e-5)


def test_grad_cam_at_any_endpoint() -> None:
    model, x = network(), np.ones((1, 8, 8, 3), np.float32)
    assert last_map(model) == "late"
    assert grad_cam(model, x, np.array([0]), endpoint="early").shape == (1, 6, 6)
    for name in ("pool", "lat"):
        with pytest.raises(InputError, match=f"has no endpoint '{name}' that is a map; near ones are"):
            grad_cam(model, x, np.array([0]), endpoint=name)


def test_calibration_by_hand() -> None:
    certainty = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = np.array([True, True, True, False, False, False])
    assert calibration_error(certainty, right) == pytest.approx((4 * 0.2 + 2 * 0.55) / 6)
    assert calibration_error(np.ones(3), np.ones(3, bool)) == 0
    assert "calibration error 31.7%" in reliability(certainty, right).replace("<!-- ", "").replace(" -->", "")


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(
        builder="lenet5",
        kwargs={},
        labels=("cat & dog", "emu"),
        preprocessing=scaled((8, 8)),
        data={"train": 9, "near_duplicates": [["a/1.jpg", "b/2.jpg"]]},
        metrics={"top1": 0.5, "exit_1_top1": 0.25},
        path=tmp_path,
    )


HISTORY = [{"loss": 1.0, "accuracy": 0.4, "val_loss": 1.1, "val_accuracy": 0.3, "seconds": 1.0}] * 2
IMAGES = Split(
    np.random.default_rng(0).integers(0, 256, (6, 10, 12, 3), dtype=np.uint8),
    np.array([0, 0, 0, 1, 1, 1], np.int32),
    ("cat & dog", "emu"),
)


def test_the_page_shows_everything_and_loads_nothing(run) -> None:
    answers = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7], [0.99, 0.01], [0.4, 0.6]])
    text = page(run, network("exit_1"), HISTORY, IMAGES, answers)
    assert not re.search(r'(src|href)="(?!data:)', re.sub(r"<svg.*?</svg>", "", text, flags=re.S))
    assert "cat &amp; dog" in text
    assert "cat & dog" not in text
    assert text.count("<svg") == 3
    captions = re.findall("<figcaption>(.*?)</figcaption>", text)
    assert captions == ["emu, predicted as cat &amp; dog (99%)", "cat &amp; dog, predicted as emu (80%)"]
    assert text.count("<img") == 4  # each beside what the network looked at
    assert "Grad-CAM at late" in text
    assert "1 pairs of images on different sides of the split" in text
    assert "<li>a/1.jpg and b/2.jpg</ul>" in text
    assert "top-1 on validation images" in text
    assert "exit_1<td>25.0%" in text
    assert "measured on 6 images: <b>" in text
    assert "The epoch was chosen" not in text


def test_the_page_says_which_images_are_measured(run) -> None:
    answers = np.eye(2)[[0, 0, 1, 1, 1, 1]]
    data = Dataset(IMAGES, IMAGES, IMAGES, near_duplicates=())
    run = dataclasses.replace(
        run,
        data=run.data | {"near_duplicates": [["a/1.jpg", "b/2.jpg", "training and test"]]},
        measured_on="test",
        validation_metrics={"top1": 0.75, "n": 4},
    )
    text = page(run, network("exit_1"), HISTORY, data.held_out, answers)
    assert (
        "measured on 6 test images: <b>top-1 83.3%</b>. The epoch was chosen on 4 validation images: top-1 75.0%"
        in text
    )
    assert "<li>a/1.jpg and b/2.jpg (training and test)</ul>" in text
    assert "top-1 on test images" in text
    assert figures(run.labels, data.held_out, answers)["measured_on"] == "test"
    text = page(run, network(), HISTORY, data.val, answers)
    assert "measured on 6 validation images: <b>top-1 83.3%</b>. The epoch was chosen on them" in text
    assert figures(run.labels, IMAGES, answers)["measured_on"] is None


def test_without_mistakes_the_least_confident_are_shown(run) -> None:
    answers = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.1, 0.9], [0.4, 0.6]])
    text = page(run, network(), HISTORY, IMAGES, answers, endpoint="early")
    assert "No mistakes; least confident" in text
    assert re.findall("<figcaption>(.*?)</figcaption>", text)[:2] == ["cat &amp; dog (60%)", "emu (60%)"]
    assert "Grad-CAM at early" in text


@pytest.mark.parametrize("channels", [3, 1])
def test_a_sheet_of_training_images(run, channels) -> None:
    record = to_record(Augmentation(area=0.3, mixup=1.0))
    training = {"augmentation": record, "seed": 4}
    run = dataclasses.replace(run, preprocessing=scaled((8, 8), channels), training=training)
    sheet = contact_sheet(run, IMAGES)
    assert "(area 0.3, flip, mixup 1)" in sheet
    files = [base64.b64decode(data) for data in re.findall('<img src="data:image/webp;base64,(.*?)"', sheet)]
    assert len(files) == len(set(files)) == 36  # each as it is, and changed five times
    images = [np.asarray(Image.open(io.BytesIO(file))).astype(int) for file in files]
    assert (channels == 1) == all(np.ptp(image, axis=-1).max() <= 2 for image in images)
    assert re.search(r"emu \d\d%, cat &amp; dog \d\d%<", sheet)
    assert sheet == contact_sheet(run, IMAGES)


def test_the_page_has_the_sheet_where_the_training_images_are_given(run) -> None:
    run = dataclasses.replace(run, training={"augmentation": to_record(Augmentation())})
    given = (run, network(), HISTORY, IMAGES, np.full((6, 2), 0.5))
    assert contact_sheet(run, IMAGES) in page(*given, dataset=Dataset(IMAGES, IMAGES))
    assert "Training images" not in page(*given)


@pytest.mark.parametrize("record", [None, {"kind": "Mirrored"}])
def test_no_sheet_without_augmentation_or_of_somebody_s_own(run, record) -> None:
    assert contact_sheet(dataclasses.replace(run, training={"augmentation": record}), IMAGES) == ""


LABELS = (
    *("$5_$", "<b>bold</b>", "%s {0} \\frac", "two\nlines\x00", "../x", "long " * 40, "long " * 40 + "er"),
    *("猫の写真" * 20, "قطة", "🐈\u200d⬛", "a\u202eb", "", "\udcff", "a & \"b\" 'c'"),
)


def test_class_names_of_any_text(run) -> None:
    n = len(LABELS)
    pixels = np.random.default_rng(0).integers(0, 256, (n, 10, 12, 3), dtype=np.uint8)
    images = Split(pixels, np.arange(n, dtype=np.int32), LABELS)
    probabilities = np.roll(np.eye(n), 1, axis=1) * 0.9  # all are mistaken for the next class
    text = page(dataclasses.replace(run, labels=LABELS), network(classes=n), HISTORY, images, probabilities)
    text.encode("utf-8")
    bold = "&lt;b&gt;bold&lt;/b&gt;"
    for label in ("$5_$", bold, "%s {0} \\frac", "two lines\ufffd", "../x", "猫の写真" * 20, "قطة", "(empty)"):
        assert f"<tr><td>{label}<td>" in text
    assert "<b>bold" not in text
    chart = re.search("Confusion matrix</h2>(<svg.*?</svg>)", text, re.S)[1]
    ElementTree.fromstring(chart)
    for label in (
        "$5_$",
        bold,
        "../x",
        "قطة",
        "猫の写真猫の写… (7)",
        "🐈",
        "long long long … (5)",
        "long long long … (6)",
    ):
        assert chart.count(f">{label}") == 2  # on both axes


def test_labels_are_shortened_by_their_width() -> None:
    assert shortened("x" * 20, 3) == "x" * 20
    assert shortened("x" * 21, 3) == "x" * 15 + "… (3)"
    assert shortened("猫" * 10, 3) == "猫" * 10
    assert shortened("猫" * 11, 3) == "猫" * 7 + "… (3)"
    assert "… (" not in confusion_chart(np.ones((40, 40), int), ["x" * 30] * 40)


def test_top_1_is_that_of_evaluate(run) -> None:
    """Ties count as a chance, where argmax would take the first class."""
    text = page(run, network(), HISTORY, IMAGES, np.full((6, 2), 0.5))
    assert "<b>top-1 50.0%</b>" in text
    probabilities = np.array([[0.5, 0.5]] * 3 + [[0.1, 0.9]] * 3)
    assert scores(probabilities, IMAGES.labels)["top1"] == 0.75
    text = page(run, network(), HISTORY, IMAGES, probabilities)
    assert "<b>top-1 75.0%</b>" in text


def test_a_history_as_tensorboard_reads_it(tmp_path: Path) -> None:
    for length in (1, 2):  # each epoch writes the file anew
        write_events(tmp_path, HISTORY[:length])
    (file,) = tmp_path.iterdir()
    assert file.name == NAME
    events = [tf.compat.v1.Event.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(file))]
    assert events[0].file_version == "brain.Event:2"
    assert [event.step for event in events[1:]] == [1, 2]
    values = {value.tag: value.simple_value for value in events[2].summary.value}
    assert values == pytest.approx(HISTORY[1])
