"""A run as one self-contained HTML page."""

from .page import page, read_history

__all__ = ["page", "read_history"]
