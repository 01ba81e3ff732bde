"""A run as one self-contained HTML page."""

from .doubts import NAME as DOUBTS
from .doubts import table as doubts
from .page import figures, page, read_history

__all__ = ["DOUBTS", "doubts", "figures", "page", "read_history"]
