"""Turning token ids into text one by one, without incomplete characters."""

from __future__ import annotations

import codecs
from collections.abc import Callable


class TextStream:
    """The text of one completion, token by token. Create one with `Tokenizer.stream()`.

    All pieces together, including the result of `flush`, are equal to `Tokenizer.decode` of all ids. Invalid UTF-8
    becomes U+FFFD by the rule of `decode`: one for each maximal part of a broken character.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """Add a token and return the text that it completes. The text is empty while a character is incomplete."""
        return self._decoder.decode(self._token_bytes(token_id))

    def flush(self) -> str:
        """Return the rest of an incomplete character at the end of the completion, and reset the stream."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest
