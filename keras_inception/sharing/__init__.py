"""Sharing a run: its model card, and the upload to the Hugging Face hub."""

from ..backend import need_tensorflow
from .push import prepared, push_to_hub

need_tensorflow(__name__)

__all__ = ["prepared", "push_to_hub"]
