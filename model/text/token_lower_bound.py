"""A lower bound of a text's number of tokens, computed without encoding the text."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from functools import cached_property
from typing import Any

import tokenizers
from tokenizers.models import BPE

from model.text.byte_level import byte_letters, token_to_bytes

_ASCII_BEFORE_ASCII = re.compile(r"[\x00-\x7f]+(?=[\x00-\x7f])")


class TokenLowerBound:
    """Computes a lower bound of the number of tokens in a text. Thread-safe.

    A token covers only its own bytes. Let L be the length of the longest token that contains a given byte: then each
    occurrence of this byte costs at least 1/L tokens. The sum over a text's bytes is a lower bound of its tokens.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend

    def of(self, text: str) -> int:
        """Return a lower bound of the text's tokens, or 0 if this tokenizer may drop parts of a text."""
        longest = self._longest
        if longest is None:
            return 0
        stable = _stable_part(text).encode()
        cost = sum(stable.count(byte) / longest[byte] for byte in set(stable))
        return math.ceil(cost * (1 - 1e-9))  # the float sum may have been rounded up

    @cached_property
    def _longest(self) -> list[int] | None:
        """Length in bytes of the longest token with each byte, or None if this tokenizer may drop parts of a text."""
        added = self._backend.get_added_tokens_decoder().values()
        vocabulary = self._backend.get_vocab(with_added_tokens=False)
        if not (
            isinstance(self._backend.model, BPE)
            and not self._backend.model.continuing_subword_prefix
            and not self._backend.model.end_of_word_suffix
            and vocabulary.keys() >= byte_letters()
            and state_of(self._backend.normalizer) in (None, {"type": "NFC"})
            and _keeps_all(state_of(self._backend.pre_tokenizer) or {})
            and not any(token.lstrip or token.rstrip for token in added)  # these absorb any number of spaces
        ):
            return None
        longest = [1] * 256
        for spelled in (*map(token_to_bytes, vocabulary), *(token.content.encode() for token in added)):
            for byte in set(spelled):
                longest[byte] = max(longest[byte], len(spelled))
        return longest


def state_of(component: Any) -> dict[str, Any] | None:  # noqa: ANN401 - the library's classes share no base
    """Return a tokenizer's component in the form of tokenizer.json, or None for a missing component."""
    return None if component is None else dict(json.loads(component.__getstate__()))


def pre_tokenizer_steps(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the steps in a pre-tokenizer's JSON as a flat list."""
    if state.get("type") == "Sequence":
        return [step for each in state.get("pretokenizers", []) for step in pre_tokenizer_steps(each)]
    return [state] if state else []


def _keeps_all(pre_tokenizer: dict[str, Any]) -> bool:
    """Return True if the pre-tokenizer keeps every byte of a text, spelled in the byte-level alphabet."""
    steps = pre_tokenizer_steps(pre_tokenizer)
    kept = all(
        step["type"] in {"ByteLevel", "Digits"} or (step["type"] == "Split" and step.get("behavior") != "Removed")
        for step in steps
    )
    return kept and any(step["type"] == "ByteLevel" for step in steps)


def _stable_part(text: str) -> str:
    """Return the part of a text that NFC leaves unchanged in every version of Unicode."""
    if text.isascii():
        return text
    assigned = all(unicodedata.category(character) != "Cn" for character in set(text))
    if assigned and unicodedata.is_normalized("NFC", text):
        return text
    return "".join(_ASCII_BEFORE_ASCII.findall(text))
