"""Tables in Markdown pages that a command measures: they are read back, so that it goes on where it stopped."""

from collections.abc import Collection, Iterable, Mapping, Sequence


def rows_in(text: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of the only table of a page, which has these columns."""
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [dict(zip(columns, row, strict=True)) for row in cells[2:]]


def lines_of(rows: Iterable[Mapping[str, str]], columns: Sequence[str], words: Collection[str]) -> list[str]:
    """The lines of a table; columns of `words` begin on the left, those of numbers end on the right."""
    return [
        "| " + " | ".join(columns) + " |",
        "|" + "|".join("---" if column in words else "---:" for column in columns) + "|",
        *("| " + " | ".join(row[column] for column in columns) + " |" for row in rows),
    ]
