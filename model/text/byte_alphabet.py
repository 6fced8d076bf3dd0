"""The alphabet in which byte-level tokenizers spell bytes as visible characters."""

from __future__ import annotations

from collections.abc import Set
from functools import cache


def token_to_bytes(token: str) -> bytes:
    """The bytes that a token of the vocabulary stands for.

    An added token may be spelled as ordinary text with characters outside the alphabet: then its UTF-8 is meant.
    """
    alphabet = _byte_of_character()
    try:
        return bytes(alphabet[character] for character in token)
    except KeyError:
        return token.encode()


def byte_letters() -> Set[str]:
    """The 256 characters that stand for a byte each."""
    return _byte_of_character().keys()


@cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 stands for itself, every other byte, in order, for U+0100 and on.

    Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, and its published code.
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
