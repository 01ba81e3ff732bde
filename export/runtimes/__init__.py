"""Exported files in their own runtimes: opened, compared by their predictions, and timed."""

from .predictor import ExportedFile, is_exported, open_predictor

__all__ = ["ExportedFile", "is_exported", "open_predictor"]
