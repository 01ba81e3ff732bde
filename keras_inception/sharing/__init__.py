"""Sharing a run: its model card, and the upload to the Hugging Face hub."""

from .push import prepared, push_to_hub

__all__ = ["prepared", "push_to_hub"]
