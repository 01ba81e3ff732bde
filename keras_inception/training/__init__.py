"""Training: a request, the loop over its epochs, and the run that it writes."""

from .request import TrainingRequest
from .train import train

__all__ = ["TrainingRequest", "train"]
