"""Training: from a request to a run directory."""

from .train import train

__all__ = ["train"]
