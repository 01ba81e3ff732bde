"""All rows, of every file in this folder."""

import importlib
import pkgutil

from ..row import Row

ALL: list[Row] = [
    row
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__))
    for row in importlib.import_module(f"{__name__}.{module}").ROWS
]
if len({row.id for row in ALL}) < len(ALL):
    raise ValueError("two parity rows have the same id: give one of them a `case`")
