"""Networks with early exits: an image stops where its prediction is confident enough, within a multiply-add budget."""

from .network import Cascade, Prediction
from .policy import Curve, Point, Policy, calibrate, curve, plot

__all__ = ["Cascade", "Curve", "Point", "Policy", "Prediction", "calibrate", "curve", "plot"]
