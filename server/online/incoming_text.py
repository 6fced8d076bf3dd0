"""One text that arrives in pieces, and perhaps from several attempts one after the other."""

from __future__ import annotations

_CALL = "<tool_call>"


class TextDiffers(Exception):
    """A later attempt gives another text than the one that was handed out."""


class TextMissing(Exception):
    """A part of the text did not arrive."""


class IncomingText:
    """The text of one completion, or of its thought.

    A later attempt sends the text again from its beginning. What was handed out already is compared and skipped.

    Args:
        may_call: True if the text may have tool calls. They are held back, because they are no part of the content.
    """

    def __init__(self, may_call: bool = False) -> None:
        self._text = ""
        self._handed_out = 0  # characters
        self._may_call = may_call
        self._complete = False

    def add(self, offset: int, text: str) -> None:
        """Add a piece.

        Args:
            offset: Number of characters before the piece.
            text: The piece.

        Raises:
            TextDiffers: The piece contradicts what was handed out.
            TextMissing: There is a gap before the piece.
        """
        if offset > len(self._text):
            raise TextMissing
        end = offset + len(text)
        if self._text[offset : min(end, self._handed_out)] != text[: max(self._handed_out - offset, 0)]:
            raise TextDiffers
        if self._text[offset:end] != text:  # equal text is known already
            self._text = self._text[:offset] + text

    def finish(self, whole: str) -> None:
        """Replace the text by the whole text of the result. Raises `TextDiffers` if it contradicts what went out."""
        if not whole.startswith(self._text[: self._handed_out]):
            raise TextDiffers
        self._text, self._complete = whole, True

    def take(self) -> str:
        """Hand out the text that has arrived since the last call. Empty if there is none."""
        end = len(self._text) if self._complete or not self._may_call else _end_of_content(self._text)
        new = self._text[self._handed_out : end]
        self._handed_out = max(end, self._handed_out)
        return new


def _end_of_content(text: str) -> int:
    """Return the length of the part of a text that is certainly content, whatever follows.

    A tool call is no content, nor is the white space before it.
    """
    end = text.find(_CALL)
    if end < 0:
        begun = next((size for size in range(min(len(_CALL) - 1, len(text)), 0, -1) if text.endswith(_CALL[:size])), 0)
        end = len(text) - begun
    return len(text[:end].rstrip())
