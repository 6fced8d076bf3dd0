"""Templates that only put columns between fixed texts, such as `Classify: {{ text }}`: the client fills them in itself.

`{{ row["two words"] }}` and `{{ row.text }}` are columns, too.

Such a template cannot run long, and its text is hardly longer than its columns. It needs no sandbox and no helper
process for its rows. The helper process still parses it, and tells its parts (`jobs.templates.template_server`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

MAX_BYTES = 2**20  # of the row's bytes, once per column of the template; longer texts need the helper's limits

# A fixed text, the name of a column, or the name of a column that the template takes from `row`.
Part = tuple[Literal["text", "column", "of row"], str]

_SAME_IN_PYTHON = (str, int, float, bool, type(None))  # jinja2 writes these values as `str` does


class PlainTemplate:
    """A template without filters and statements.

    Args:
        parts: Its parts, in order.

    Attributes:
        names: Names of its columns. A name may occur twice.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.names = [text for kind, text in parts if kind != "text"]
        self._form = "".join(text.replace("%", "%%") if kind == "text" else "%s" for kind, text in parts)
        self._uses_row = any(kind == "of row" for kind, _ in parts)

    def takes(self, columns: Mapping[str, Any]) -> bool:
        """Return False for a row in which `row` is a column, if the template uses `row`: it means that column."""
        return not (self._uses_row and "row" in columns)

    def text(self, columns: Mapping[str, Any], row_bytes: int) -> str | None:
        """Return what jinja2 makes of a row. None if only the helper process can tell.

        That is so if a column is missing, if its value is nested, if the text may be long, or if `takes` is False.

        Args:
            columns: The row's columns.
            row_bytes: Length of the row's JSON.
        """
        if row_bytes * len(self.names) > MAX_BYTES or not self.takes(columns):
            return None
        values = []
        for name in self.names:
            value = columns.get(name, _MISSING)
            if type(value) not in _SAME_IN_PYTHON:
                return None
            values.append(value)
        return self._form % tuple(values)


_MISSING = object()
