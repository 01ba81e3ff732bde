"""A network as a figure: the overview and its modules, drawn from the model itself."""

from .draw import draw

__all__ = ["draw"]
