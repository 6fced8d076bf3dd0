"""Render a user's template for each row of a file, with limits for time and memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from jobs.errors import InvalidInput
from jobs.templates.template_process import RenderFailed, TemplateDamaged, TemplateProcess

CPU_SECONDS = 0.5  # limit for one request; a template that never ends is found after two requests

_HINT = """Correct the template. A column whose name is not one word is written {{ row["two words"] }}."""

Texts = tuple[tuple[bool, str], ...]  # one row: per template, (True, text) or (False, error)

_decode = msgspec.json.Decoder(list[tuple[bool, str]]).decode


class RowTemplate:
    """Compiled jinja2 templates: one, or one per message. They run in a sandbox, in a helper process.

    Templates that are all plain need the helper process only for unusual rows. A column that is missing is an error.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        """Compile the templates.

        Raises:
            InvalidInput: A template has a fault of syntax.
        """
        self._names = [str(place) for place in range(len(sources))]
        try:
            named = dict(zip(self._names, sources, strict=True))
            self._process = TemplateProcess(named, strict=True, cpu_seconds=CPU_SECONDS)
        except TemplateDamaged as error:
            raise InvalidInput(f"The template cannot be used: {error}.", _HINT) from error
        plain = [self._process.plain[name] for name in self._names if name in self._process.plain]
        self._plain = plain if len(plain) == len(self._names) else None

    def texts(self, columns: Mapping[str, Any], row_bytes: int) -> list[str] | None:
        """Return the text of each template for a row, if they are plain. None if the row must go to `begin`.

        Args:
            columns: The row's columns.
            row_bytes: Length of the row's JSON.
        """
        if self._plain is None:
            return None
        texts = []
        for template in self._plain:
            text = template.text(columns, row_bytes)
            if text is None:
                return None
            texts.append(text)
        return texts

    def without_value(self, columns: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the columns without a value whose text is `None`. Empty if the templates are not plain.

        A template with filters or statements may mean something else, such as `{{ text or "nothing" }}`.
        """
        named = (name for template in self._plain or () if template.takes(columns) for name in template.names)
        return tuple(dict.fromkeys(name for name in named if name in columns and columns[name] is None))

    def begin(self, rows: Sequence[bytes], numbers: Sequence[int]) -> Callable[[], list[Texts]]:
        """Begin to render rows. Returns a function that waits for what the templates make of each row.

        The function raises `InvalidInput` if a template takes too much time or memory. Every row would take that long.

        Args:
            rows: JSON objects. A few hundred at a time are fast.
            numbers: The rows' numbers, for messages.
        """
        return partial(self._texts, rows, numbers, self._process.begin(self._requests(rows)))

    def _texts(
        self, rows: Sequence[bytes], numbers: Sequence[int], answers: Callable[[], list[str | RenderFailed]]
    ) -> list[Texts]:
        texts = _decoded(answers())
        if not isinstance(texts, RenderFailed):
            return texts
        one_by_one: list[Texts] = []
        for row, number in zip(rows, numbers, strict=True):
            single = _decoded(self._process.render(self._requests([row])))
            if isinstance(single, RenderFailed):
                raise InvalidInput(
                    f"The template cannot be used for row {number:,}: {single}.", "Shorten the template."
                )
            one_by_one += single
        return one_by_one

    def _requests(self, rows: Sequence[bytes]) -> list[bytes]:
        """Return one request per template."""
        objects = b",".join(rows)
        return [b'["%b",[%b]]' % (name.encode(), objects) for name in self._names]


def _decoded(answers: Sequence[str | RenderFailed]) -> list[Texts] | RenderFailed:
    """Return the texts of each row, or the failure of the first template that fails as a whole."""
    failed = next((answer for answer in answers if isinstance(answer, RenderFailed)), None)
    if failed is not None:
        return failed
    return list(zip(*(_decode(answer) for answer in answers if isinstance(answer, str)), strict=True))
