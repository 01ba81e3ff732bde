"""Published weights: the catalogue, the download, and loading them into a network."""

from .labels import ClassScore, Label, decode_predictions, imagenet_labels, preprocess_input
from .publishers import checkpoints, find
from .record import Checkpoint, checkpoint_of
from .source import Weights, WeightsSource, choose, load
from .tflite import TFLiteNetwork, from_tflite, recognise_tflite
from .transfer import copy_weights, fit_classes

__all__ = [
    "Checkpoint",
    "ClassScore",
    "Label",
    "TFLiteNetwork",
    "Weights",
    "WeightsSource",
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
    "recognise_tflite",
]
