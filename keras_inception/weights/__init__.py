"""Published weights: what there is, where it comes from, and how it gets into a network."""

from .catalogue import checkpoints, find
from .labels import Label, Prediction, decode_predictions, fit_classes, imagenet_labels, preprocess_input
from .record import Checkpoint
from .source import Source, Weights, checkpoint_of, choose, load
from .tflite import from_tflite
from .transfer import copy_weights

__all__ = [
    "Checkpoint",
    "Label",
    "Prediction",
    "Source",
    "Weights",
    "checkpoint_of",
    "checkpoints",
    "choose",
    "copy_weights",
    "decode_predictions",
    "find",
    "fit_classes",
    "from_tflite",
    "imagenet_labels",
    "load",
    "preprocess_input",
]
