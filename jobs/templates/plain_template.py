"""Templates that only put columns between fixed texts, such as `Classify: {{ text }}`: the client fills them in itself.

Such a template cannot run long, and its text is hardly longer than its columns. It needs no sandbox and no helper
process for its rows. The helper process still parses it, and tells its parts (`jobs.templates.template_server`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MAX_BYTES = 2**20  # of the row's bytes, once per column of the template; longer texts need the helper's limits

Part = tuple[bool, str]  # (True, name of a column) or (False, fixed text)

_SAME_IN_PYTHON = (str, int, float, bool, type(None))  # jinja2 writes these values as `str` does


class PlainTemplate:
    """A template without filters and statements.

    Args:
        parts: Its parts, in order.

    Attributes:
        names: Names of its columns. A name may occur twice.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.names = [text for is_column, text in parts if is_column]
        self._form = "".join("%s" if is_column else text.replace("%", "%%") for is_column, text in parts)

    def text(self, columns: Mapping[str, Any], row_bytes: int) -> str | None:
        """Return what jinja2 makes of a row. None if only the helper process can tell.

        That is so if a column is missing, if its value is nested, or if the text may be long.

        Args:
            columns: The row's columns.
            row_bytes: Length of the row's JSON.
        """
        if row_bytes * len(self.names) > MAX_BYTES:
            return None
        values = []
        for name in self.names:
            value = columns.get(name, _MISSING)
            if type(value) not in _SAME_IN_PYTHON:
                return None
            values.append(value)
        return self._form % tuple(values)


_MISSING = object()
