"""Render a user's template for each row of a file, with limits for time and memory."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jobs.errors import InvalidInput
from jobs.templates.template_process import RenderFailed, TemplateDamaged, TemplateProcess

CPU_SECONDS = 0.5  # limit for one request; a template that never ends is found after two requests

_decode = msgspec.json.Decoder(list[tuple[bool, str]]).decode


class RowTemplate:
    """Compiled jinja2 templates: one, or one per message. They run in a sandbox, in a helper process.

    A column that is missing is an error.
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
            raise InvalidInput(f"The template cannot be used: {error}.", "Correct the template.") from error

    def render(self, rows: Sequence[bytes], numbers: Sequence[int]) -> list[tuple[tuple[bool, str], ...]]:
        """Return for each row what each template makes of it: (True, text), or (False, error).

        Args:
            rows: JSON objects. A few hundred at a time are fast.
            numbers: The rows' numbers, for messages.

        Raises:
            InvalidInput: A template takes too much time or memory. Every row would take that long.
        """
        answers = self._answers(rows)
        if not isinstance(answers, RenderFailed):
            return answers
        texts: list[tuple[tuple[bool, str], ...]] = []
        for row, number in zip(rows, numbers, strict=True):
            single = self._answers([row])
            if isinstance(single, RenderFailed):
                raise InvalidInput(
                    f"The template cannot be used for row {number:,}: {single}.", "Shorten the template."
                )
            texts += single
        return texts

    def _answers(self, rows: Sequence[bytes]) -> list[tuple[tuple[bool, str], ...]] | RenderFailed:
        """Return the texts of the rows, or the failure of the first template that fails as a whole."""
        objects = b",".join(rows)
        answers = self._process.render([b'["%b",[%b]]' % (name.encode(), objects) for name in self._names])
        failed = next((answer for answer in answers if isinstance(answer, RenderFailed)), None)
        if failed is not None:
            return failed
        return list(zip(*(_decode(answer) for answer in answers if isinstance(answer, str)), strict=True))
