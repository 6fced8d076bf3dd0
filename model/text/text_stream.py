"""Turning token ids into text as they come, without ever showing half a character."""

from __future__ import annotations

import codecs
from collections.abc import Callable


class TextStream:
    """The text of one completion, token by token; made by `Tokenizer.stream()`.

    All pieces in order, `flush` included, are exactly `Tokenizer.decode` of all ids. Bytes that are not UTF-8 become
    U+FFFD by the same rule as there (one for each maximal part of a broken character).
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """The text that this token completes: empty while a character is still open."""
        return self._decoder.decode(self._token_bytes(token_id))

    def flush(self) -> str:
        """What is left when the completion ends inside a character. The stream starts afresh."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest
