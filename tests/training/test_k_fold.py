"""Cross-validation: each image is predicted once, by a network that has not seen it; an interruption costs a fold."""

import csv
import json
import sys

import numpy as np
import pytest

from keras_inception.data import Dataset, Split, from_arrays
from keras_inception.data.split import joined
from keras_inception.errors import InputError
from keras_inception.run import Run
from keras_inception.training import k_fold, train
from keras_inception.training.k_fold import folds_of

SETTINGS = {"model": "lenet5", "epochs": 8, "batch_size": 8, "learning_rate": 0.002, "augmentation": None}


def stripes(n: int, wrong: int | None = None) -> Dataset:
    """Images of stripes across and down; one of them with the other label."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (2 * n, 32, 32))
    images[:n, ::4] += 150
    images[n:, :, ::4] += 150
    labels = np.repeat([0, 1], n)
    if wrong is not None:
        labels[wrong] = 1 - labels[wrong]
    return from_arrays(images.astype(np.uint8), labels, ["across", "down"])


def rows(run: Run, name: str) -> list[dict[str, str]]:
    with open(run.path / name, newline="") as file:
        return list(csv.DictReader(file))


def test_every_image_is_predicted_by_a_network_that_has_not_seen_it(tmp_path, monkeypatch, capfd) -> None:
    dataset, seen = stripes(20, wrong=3), []
    whole = joined(dataset.train, dataset.val)
    predictions = k_fold.KerasPredictor.probabilities

    def probabilities(self, images, **arguments):
        if images.side == "validation" and len(seen) < 2:
            seen.append({digest.tobytes().hex() for digest in images.content_digests()})
        return predictions(self, images, **arguments)

    run_of_fold = k_fold.Run.load  # the second fold is interrupted, then resumed with the first one as it is
    trained = []

    def train_part(part, place, original=train):
        trained.append(place.name)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return original(part, out=place, **SETTINGS, weights=None)

    module = sys.modules["keras_inception.training.train"]
    monkeypatch.setattr(module, "train", lambda part, *, out, **_: train_part(part, out))
    with pytest.raises(KeyboardInterrupt):
        train(dataset, out=tmp_path / "run", weights=None, k_fold=2, **SETTINGS)
    monkeypatch.setattr(k_fold.KerasPredictor, "probabilities", probabilities)
    run = train(dataset, out=tmp_path / "run", weights=None, k_fold=2, **SETTINGS)
    assert trained == ["1_of_2", "2_of_2", "2_of_2"]
    assert sum(map(len, seen)) == len(set.union(*seen)) == len(whole)

    answers = rows(run, "folds.csv")
    assert len(answers) == len(whole)
    accuracy = np.mean([row["label"] == row["predicted"] for row in answers])
    assert [fold["n"] for fold in run.folds] == [sum(row["fold"] == str(i) for row in answers) for i in (1, 2)]
    assert accuracy == pytest.approx(np.average([f["top1"] for f in run.folds], weights=[f["n"] for f in run.folds]))
    assert accuracy > 0.9
    part = run_of_fold(run.path / "folds" / "2_of_2")
    assert part.metrics["top1"] == run.folds[1]["top1"]
    assert Run.load(run.path).folds == run.folds

    [worst, *_] = rows(run, "doubts.csv")  # the wrong label is found
    place = {digest.tobytes().hex(): i for i, digest in enumerate(whole.content_digests())}[worst["sha256"]]
    assert whole.sources[place, 0].mean() > 150  # stripes across, which begin in the first row
    assert (worst["label"], worst["looks_like"]) == ("down", "across")
    page = (run.path / "report.html").read_text()
    assert "<h2>Cross-validation</h2>" in page
    assert "a network that was trained without them" in page
    assert "2 folds: accuracy" in capfd.readouterr().err
    assert json.loads((run.path / "run.json").read_text())["training"]["epochs"] == 8


def test_folds_have_equal_shares_of_classes_and_keep_copies_together() -> None:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 255, (53, 4, 4, 3), np.uint8)
    images[40:50] = images[:10]
    labels = np.concatenate([np.arange(40) % 4, np.arange(10) % 4, [0, 1, 2]]).astype(np.int32)
    split = Split(images, labels, tuple("abcd"))
    fold = folds_of(split, 5, seed=0)
    np.testing.assert_array_equal(fold[40:50], fold[:10])
    counts = np.array([np.bincount(fold[:40][labels[:40] == c], minlength=5) for c in range(4)])
    assert counts.min() >= 1
    assert counts.max() <= 3
    order = rng.permutation(53)
    np.testing.assert_array_equal(folds_of(split.select(order), 5, seed=0), fold[order])
    assert (folds_of(split, 5, seed=1) != fold).any()


@pytest.mark.parametrize(
    ("k", "says"),
    [
        *((k, "an integer from 2 to the 20 different images") for k in (1, 0, 21)),
        *((k, "a whole number or None") for k in (True, 2.5)),
    ],
)
def test_a_wrong_number_of_folds_is_refused_before_anything_is_written(k, says, tmp_path) -> None:
    with pytest.raises(InputError, match=f"k_fold must be {says}.*; got {k}"):
        train(stripes(20), out=tmp_path / "run", weights=None, k_fold=k, **SETTINGS)
    assert not (tmp_path / "run").exists()


def test_arrays_of_different_sizes_are_joined() -> None:
    a, b = (Split(np.full((2, size, size, 3), size, np.uint8), np.zeros(2, np.int32), ("x",)) for size in (4, 6))
    both = joined(a, b)
    assert [both.image(i).shape for i in range(4)] == [(4, 4, 3)] * 2 + [(6, 6, 3)] * 2
    assert both.content_digests().shape == (4, 32)
