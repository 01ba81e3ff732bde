"""A run as one self-contained HTML page."""

from .doubts import NAME as DOUBTS
from .doubts import table as doubts
from .folds import NAME as FOLDS
from .folds import table as folds
from .page import figures, page, read_history

__all__ = ["DOUBTS", "FOLDS", "doubts", "figures", "folds", "page", "read_history"]
