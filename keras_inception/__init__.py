"""The classic CNNs, LeNet to SENet, exact to their papers, in Keras 3.

Every network is a function that returns a functional `keras.Model`: `keras_inception.InceptionV3()`.
"""

from .errors import InputError
from .models import InceptionV3, LeNet5, MobileNetV2
from .preprocessing import Preprocessing
from .registry import create_model, list_models, model_info
from .run import Run

__all__ = [
    "InceptionV3",
    "InputError",
    "LeNet5",
    "MobileNetV2",
    "Preprocessing",
    "Run",
    "create_model",
    "list_models",
    "model_info",
]
