"""A run as one self-contained HTML page."""

from .page import figures, page, read_history

__all__ = ["figures", "page", "read_history"]
