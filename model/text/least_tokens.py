"""A floor under the number of a text's tokens, found without encoding the text."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from functools import cached_property
from typing import Any

import tokenizers
from tokenizers.models import BPE

from model.text.byte_alphabet import byte_letters, token_to_bytes

_ASCII_BEFORE_ASCII = re.compile(r"[\x00-\x7f]+(?=[\x00-\x7f])")


class LeastTokens:
    """Counts what a text takes at the very least. Thread-safe.

    A token covers its own bytes and no others. So a byte costs at least one part in the length of the longest token
    that contains this byte. The sum over all bytes of a text is a floor under its number of tokens.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend

    def of(self, text: str) -> int:
        """A number of tokens that the text takes at least; 0 if this tokenizer may drop parts of a text."""
        longest = self._longest
        if longest is None:
            return 0
        stable = _stable_part(text).encode()
        cost = sum(stable.count(byte) / longest[byte] for byte in set(stable))
        return math.ceil(cost * (1 - 1e-9))  # floats may have rounded the sum up

    @cached_property
    def _longest(self) -> list[int] | None:
        """The length in bytes of the longest token that contains each byte; None if parts of a text may be dropped."""
        added = self._backend.get_added_tokens_decoder().values()
        vocabulary = self._backend.get_vocab(with_added_tokens=False)
        if not (
            isinstance(self._backend.model, BPE)
            and not self._backend.model.continuing_subword_prefix
            and not self._backend.model.end_of_word_suffix
            and vocabulary.keys() >= byte_letters()
            and state_of(self._backend.normalizer) in (None, {"type": "NFC"})
            and _keeps_all(state_of(self._backend.pre_tokenizer) or {})
            and not any(token.lstrip or token.rstrip for token in added)  # these swallow spaces without end
        ):
            return None
        longest = [1] * 256
        for spelled in (*map(token_to_bytes, vocabulary), *(token.content.encode() for token in added)):
            for byte in set(spelled):
                longest[byte] = max(longest[byte], len(spelled))
        return longest


def state_of(component: Any) -> dict[str, Any] | None:  # noqa: ANN401 - the library's classes share no base
    """A tokenizer's component as tokenizer.json has it; None for none."""
    return None if component is None else dict(json.loads(component.__getstate__()))


def pre_tokenizer_steps(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of a pre-tokenizer's JSON, one after the other."""
    if state.get("type") == "Sequence":
        return [step for each in state.get("pretokenizers", []) for step in pre_tokenizer_steps(each)]
    return [state] if state else []


def _keeps_all(pre_tokenizer: dict[str, Any]) -> bool:
    """Return whether every byte of a text comes out of it, spelled in the byte-level alphabet."""
    steps = pre_tokenizer_steps(pre_tokenizer)
    kept = all(
        step["type"] in {"ByteLevel", "Digits"} or (step["type"] == "Split" and step.get("behavior") != "Removed")
        for step in steps
    )
    return kept and any(step["type"] == "ByteLevel" for step in steps)


def _stable_part(text: str) -> str:
    """What NFC leaves as it is, whichever version of Unicode the tokenizer knows."""
    if text.isascii():
        return text
    assigned = all(unicodedata.category(character) != "Cn" for character in set(text))
    if assigned and unicodedata.is_normalized("NFC", text):
        return text
    return "".join(_ASCII_BEFORE_ASCII.findall(text))
