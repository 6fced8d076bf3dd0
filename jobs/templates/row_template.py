"""Render a user's template for each row of a file, with limits for time and memory."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jobs.errors import InvalidInput
from jobs.templates.template_process import RenderFailed, TemplateDamaged, TemplateProcess

CPU_SECONDS = 0.5  # limit for one request; a template that never ends is found after two requests

_decode = msgspec.json.Decoder(list[tuple[bool, str]]).decode


class RowTemplate:
    """A compiled jinja2 template. It runs in a sandbox, in a helper process. A column that is missing is an error."""

    def __init__(self, source: str) -> None:
        """Compile the template.

        Raises:
            InvalidInput: The template has a fault of syntax.
        """
        try:
            self._process = TemplateProcess({"default": source}, strict=True, cpu_seconds=CPU_SECONDS)
        except TemplateDamaged as error:
            raise InvalidInput(f"The template cannot be used: {error}.", "Correct the template.") from error

    def render(self, rows: Sequence[bytes], numbers: Sequence[int]) -> list[tuple[bool, str]]:
        """Return for each row (True, text), or (False, error).

        Args:
            rows: JSON objects. A few hundred at a time are fast.
            numbers: The rows' numbers, for messages.

        Raises:
            InvalidInput: The template takes too much time or memory. Every row would take that long.
        """
        answer = self._answer(rows)
        if isinstance(answer, list):
            return answer
        texts: list[tuple[bool, str]] = []
        for row, number in zip(rows, numbers, strict=True):
            single = self._answer([row])
            if isinstance(single, RenderFailed):
                raise InvalidInput(
                    f"The template cannot be used for row {number:,}: {single}.", "Shorten the template."
                )
            texts += single
        return texts

    def _answer(self, rows: Sequence[bytes]) -> list[tuple[bool, str]] | RenderFailed:
        (answer,) = self._process.render([b'["default",[' + b",".join(rows) + b"]]"])
        return answer if isinstance(answer, RenderFailed) else _decode(answer)
