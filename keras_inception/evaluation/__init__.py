"""How good a network is: predictions on labelled images, and their metrics."""

from .predictor import evaluate, held_out, probabilities, scores, summary, together

__all__ = ["evaluate", "held_out", "probabilities", "scores", "summary", "together"]
