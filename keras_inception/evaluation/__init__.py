"""How good a network is: predictions, and their metrics."""

from .metrics import scores, summary
from .predictor import Ensemble, KerasPredictor, Prediction, Predictor, evaluate, predict

__all__ = [
    "Ensemble",
    "KerasPredictor",
    "Prediction",
    "Predictor",
    "evaluate",
    "predict",
    "scores",
    "summary",
]
