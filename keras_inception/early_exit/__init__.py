"""Networks with early exits: an image stops where its prediction is confident enough, within a multiply-add budget."""

from .network import Cascade, ExitPredictions
from .policy import Curve, Point, Policy, calibrate, curve, plot

__all__ = ["Cascade", "Curve", "ExitPredictions", "Point", "Policy", "calibrate", "curve", "plot"]
