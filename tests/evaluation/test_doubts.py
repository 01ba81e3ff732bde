"""Labels that the other images doubt."""

import numpy as np
import pytest

from keras_inception.evaluation.doubts import PENALTIES, doubts, leave_one_out


@pytest.mark.parametrize(("n", "d"), [(12, 4), (9, 30)])
def test_the_closed_form_is_a_regression_without_each_row(n: int, d: int, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(n, 3))
    monkeypatch.setattr("keras_inception.evaluation.doubts.PENALTIES", PENALTIES[6:7])
    centred = x - x.mean(axis=0)
    penalty = PENALTIES[6] * np.square(centred).sum() / min(n, d)
    found = leave_one_out(x, y)
    for i in range(n):
        rest = np.delete(np.arange(n), i)
        ones = np.column_stack([np.ones(n), centred])
        weights = np.diag([0.0] + d * [penalty])
        solved = np.linalg.solve(ones[rest].T @ ones[rest] + weights, ones[rest].T @ y[rest])
        np.testing.assert_allclose(found[i], ones[i] @ solved, atol=1e-8)


def test_wrong_labels_are_found() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 40)
    features = rng.normal(0, 0.3, (120, 2, 2, 8)) + 2 * np.eye(8)[truth][:, np.newaxis, np.newaxis]
    labels = truth.copy()
    wrong = [3, 50, 99]
    labels[wrong] = (labels[wrong] + 1) % 3
    found = doubts(features.astype(np.float32), labels, 3)
    assert sorted(doubt.image for doubt in found) == wrong
    assert all(doubt.looks_like == truth[doubt.image] and doubt.label == labels[doubt.image] for doubt in found)
    assert [doubt.margin for doubt in found] == sorted((doubt.margin for doubt in found), reverse=True)
    assert doubts(features, truth, 3) == []


def test_features_that_say_nothing_doubt_nothing_loudly() -> None:
    assert doubts(np.zeros((2, 4)), np.array([0, 1]), 2) == []
    found = doubts(np.ones((10, 4)), np.arange(10) % 2, 2)
    assert all(doubt.margin < 0.3 for doubt in found)
