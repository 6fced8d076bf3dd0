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

    The text is kept in parts and is put together only when something needs all of it. So a piece costs the same in a
    long text as in a short one.

    Args:
        may_call: True if the text may have tool calls. They are held back, because they are no part of the content.
    """

    def __init__(self, may_call: bool = False) -> None:
        self._old: list[str] = []  # parts that were handed out
        self._new: list[str] = []  # parts behind them
        self._length = 0  # characters of all parts
        self.num_taken = 0  # characters that were handed out
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
        if offset > self._length:
            raise TextMissing
        if offset == self._length:
            self._new.append(text)
            self._length += len(text)
            return
        old, whole = "".join(self._old), self._whole()
        end = offset + len(text)
        if old[offset:end] != text[: max(len(old) - offset, 0)]:
            raise TextDiffers
        if whole[offset:end] != text:  # equal text is known already, and so may be what follows
            self._set(whole[:offset] + text, len(old))

    def finish(self, whole: str) -> None:
        """Replace the text by the whole text of the result. Raises `TextDiffers` if it contradicts what went out."""
        old = "".join(self._old)
        if not whole.startswith(old):
            raise TextDiffers
        self._set(whole, len(old))
        self._complete = True

    def take(self) -> str:
        """Hand out the text that has arrived since the last call. Empty if there is none."""
        if self._may_call and not self._complete:
            return self._take_content()
        new = "".join(self._new)
        self._old.append(new)
        self._new.clear()
        self.num_taken = self._length
        return new

    def _take_content(self) -> str:
        """Hand out what is certainly content."""
        whole, num_old = self._whole(), len("".join(self._old))
        end = max(_end_of_content(whole), num_old)
        self._set(whole, end)
        self.num_taken = end
        return whole[num_old:end]

    def _whole(self) -> str:
        return "".join((*self._old, *self._new))

    def _set(self, whole: str, num_old: int) -> None:
        """Replace all parts by a text, of which the first `num_old` characters were handed out."""
        self._old, self._new, self._length = [whole[:num_old]], [whole[num_old:]], len(whole)


def _end_of_content(text: str) -> int:
    """Return the length of the part of a text that is certainly content, whatever follows.

    A tool call is no content, nor is the white space before it.
    """
    end = text.find(_CALL)
    if end < 0:
        begun = next((size for size in range(min(len(_CALL) - 1, len(text)), 0, -1) if text.endswith(_CALL[:size])), 0)
        end = len(text) - begun
    return len(text[:end].rstrip())
