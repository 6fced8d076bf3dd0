"""Markdown tables that are also readable as text."""

from __future__ import annotations


def markdown_table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a table whose first column is aligned left, and whose other columns are aligned right.

    Args:
        heads: One heading per column.
        rows: Rows with one cell per column.
    """
    widths = [max(3, *(len(row[column]) for row in (heads, *rows))) for column in range(len(heads))]
    rule = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join(_line(row, widths) for row in (heads, rule, *rows))


def _line(row: list[str], widths: list[int]) -> str:
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return "| " + " | ".join(cells) + " |"
