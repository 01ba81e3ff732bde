"""What a command prints: tables for a person, JSON for a program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ..terminal import print_table, say

if TYPE_CHECKING:
    from ..run import Run

__all__ = ["say", "show", "show_metrics", "show_result"]


def show_result(run: Run, as_json: bool) -> None:
    """Print a run's metrics, and those on the validation images, on which its epoch was chosen."""
    if as_json:
        more = {"measured_on": run.measured_on, "validation_metrics": run.validation_metrics, "folds": run.folds}
        show([run.metrics | more], as_json, whole=True)
    else:
        rows = {run.measured_on: run.metrics, "validation": run.validation_metrics}
        show_metrics([{"images": side} | metrics for side, metrics in rows.items()], len(run.labels), as_json)


def show_metrics(rows: list[dict[str, Any]], classes: int, as_json: bool) -> None:
    """Print what was measured; a table has no top-5 accuracy of five classes or fewer, where it is 100 %."""
    if not as_json and classes <= 5:
        rows = [{name: value for name, value in row.items() if name != "top5"} for row in rows]
    show(rows, as_json, whole=True)


def show(rows: list[dict[str, Any]], as_json: bool, *, whole: bool = False) -> None:
    """Rows as a table, or as JSON; `whole` is a single record."""
    if as_json:
        print(json.dumps(rows[0] if whole else rows, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for key, value in rows[0].items():
        table.add_column(key, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*map(cell, row.keys(), row.values()))
    print_table(table)


def cell(key: str, value: Any) -> str:
    """A value as text: shares in percent, counts with thousands."""
    match value:
        case None:
            return "-"
        case float() if key in ("top1", "top-1", "top5", "agreement"):
            return f"{value:.2%}"
        case float():
            return f"{value:.3g}"
        case int() if key != "year":
            return f"{value:,}"
    return str(value)
