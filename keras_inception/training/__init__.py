"""Training: a request, the loop over its epochs, and the run that it writes."""

from ..backend import need_tensorflow
from .request import TrainingRequest
from .train import train

need_tensorflow(__name__)

__all__ = ["TrainingRequest", "train"]
