"""The alphabet of byte-level tokenizers: a visible character for each byte."""

from __future__ import annotations

from collections.abc import Set
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


@cache
def _byte_of_character() -> dict[str, int]:
    """Return GPT-2's alphabet as a map from character to byte.

    Printable Latin-1 characters stand for themselves. The other bytes, in order, have the characters from U+0100 on.
    Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, and its published code.
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
