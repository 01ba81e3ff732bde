"""Networks with early exits: an image stops where its prediction is confident enough, within a multiply-add budget."""

from ..backend import need_tensorflow
from .network import Cascade, ExitPredictions
from .policy import Curve, Point, Policy, calibrate, curve, plot

need_tensorflow(__name__)

__all__ = ["Cascade", "Curve", "ExitPredictions", "Point", "Policy", "calibrate", "curve", "plot"]
