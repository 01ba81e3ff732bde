"""How good a network is: predictions, and their metrics."""

from ..backend import need_tensorflow
from .many import Written, predict_many
from .metrics import scores, summary
from .predictor import (
    BatchFunction,
    BatchPredictor,
    Ensemble,
    KerasPredictor,
    Prediction,
    Predictor,
    evaluate,
    predict,
)

need_tensorflow(__name__)

__all__ = [
    "BatchFunction",
    "BatchPredictor",
    "Ensemble",
    "KerasPredictor",
    "Prediction",
    "Predictor",
    "Written",
    "evaluate",
    "predict",
    "predict_many",
    "scores",
    "summary",
]
