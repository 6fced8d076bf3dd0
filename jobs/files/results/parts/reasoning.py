"""The field of a result that holds the text of a thought."""

from __future__ import annotations

from enum import StrEnum


class ReasoningField(StrEnum):
    """Names under which results have the text of a thought. Clients differ in the name that they read."""

    REASONING = "reasoning"
    REASONING_CONTENT = "reasoning_content"
    BOTH = "both"
    NONE = "none"

    @property
    def names(self) -> tuple[str, ...]:
        """The keys that hold the text."""
        if self is ReasoningField.BOTH:
            return ("reasoning", "reasoning_content")
        return () if self is ReasoningField.NONE else (self.value,)


def reasoning_keys(text: str | None, field: ReasoningField) -> dict[str, str]:
    """Return the keys for the text of a thought. Empty if there is no such text."""
    return {} if text is None else dict.fromkeys(field.names, text)
