"""`predict` from several threads at once gives the answers that it gives from one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import keras_inception
from keras_inception import export
from keras_inception.evaluation import KerasPredictor, Predictor, predict
from keras_inception.preprocessing import Preprocessing

from ..crossings.networks import registered

THREADS, TURNS = 8, 2


@pytest.fixture(scope="module")
def network() -> dict[str, Any]:
    with registered():
        model = keras_inception.create_model("crossed", classes=3)
    return {"model": model, "labels": ("a", "b", "c"), "preprocessing": Preprocessing(size=(16, 16))}


def exported(to: Callable[..., Path], network: dict[str, Any], path: Path) -> Predictor:
    given = {key: network[key] for key in ("labels", "preprocessing")}
    return export.open_predictor(to(network["model"], path, **given))


@pytest.mark.parametrize("kind", ["keras", "tflite", "saved_model"])
def test_threads_get_the_answers_of_one(kind: str, network: dict[str, Any], tmp_path: Path) -> None:
    predictor: Predictor = KerasPredictor(**network)
    if kind != "keras":
        predictor = exported(getattr(export, f"to_{kind}"), network, tmp_path / f"file.{kind}")
    images = np.random.default_rng(0).integers(0, 256, (THREADS, 16, 16, 3), dtype=np.uint8)
    alone = [predict(predictor, image) for image in images]
    assert len({answer[0].probabilities for answer in alone}) == THREADS
    with ThreadPoolExecutor(THREADS) as threads:
        asked = [threads.submit(predict, predictor, image) for _ in range(TURNS) for image in images]
        together = [future.result() for future in asked]
    assert together == alone * TURNS
