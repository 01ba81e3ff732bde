"""Every public name of `keras_inception`, which gives them out when one is first used."""

from . import anytime, models
from .callbacks import AuxiliaryHeads, LabelSmoothing, fade, strip_auxiliary
from .errors import InputError
from .models import *  # noqa: F403  (the builders, which it lists)
from .preprocessing import Preprocessing
from .registry import create_model, list_models, model_info
from .run import Run
from .weights import decode_predictions, preprocess_input

__all__ = [
    "AuxiliaryHeads",
    "InputError",
    "LabelSmoothing",
    "Preprocessing",
    "Run",
    "anytime",
    "create_model",
    "decode_predictions",
    "fade",
    "list_models",
    "model_info",
    "preprocess_input",
    "strip_auxiliary",
]
__all__ += models.__all__
