"""Networks with early exits: stop an image where its prediction is sure enough, within a budget of multiply-adds."""

from .network import Cascade, Prediction
from .policy import Curve, Point, Policy, calibrate, curve, plot

__all__ = ["Cascade", "Curve", "Point", "Policy", "Prediction", "calibrate", "curve", "plot"]
