"""Trained networks as files that servers and phones run, and the proof that they still give the same answers."""

from .agreement import Agreement, agreement
from .formats import FORMATS, export_run, exported, misses
from .metadata import Record
from .saved_model import to_saved_model
from .tflite import to_tflite

__all__ = [
    "FORMATS",
    "Agreement",
    "Record",
    "agreement",
    "export_run",
    "exported",
    "misses",
    "to_saved_model",
    "to_tflite",
]
