"""Byte-level tokens: the bytes that a token stands for, and the text that tokens complete one by one."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Set
from functools import cache


def token_to_bytes(token: str) -> bytes:
    """Return the bytes of a token in the vocabulary.

    An added token may be ordinary text with characters outside the alphabet. In that case its UTF-8 is returned.
    """
    alphabet = _byte_of_character()
    try:
        return bytes(alphabet[character] for character in token)
    except KeyError:
        return token.encode()


def byte_letters() -> Set[str]:
    """Return the 256 characters of the alphabet, one per byte."""
    return _byte_of_character().keys()


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

    @property
    def is_complete(self) -> bool:
        """True if no character is incomplete."""
        return not self._decoder.getstate()[0]

    def flush(self) -> str:
        """Return the rest of an incomplete character at the end of the completion, and reset the stream."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest


@cache
def _byte_of_character() -> dict[str, int]:
    """Return GPT-2's alphabet as a map from character to byte.

    Printable Latin-1 characters stand for themselves. The other bytes, in order, have the characters from U+0100 on.
    Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, and its published code.
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
