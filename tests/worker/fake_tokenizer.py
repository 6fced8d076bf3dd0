"""A tokenizer whose ids are code points: a test can read its tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from model.text.text_encoder import Encoded, TooManyTokens

VOCAB_SIZE = 0x110000
END = 0x10FFFF  # stands after each text that is embedded


class FakeTokenizer:
    """Refuses as the real one does: lone surrogates and bad messages have their `ValueError` in their place."""

    def __init__(self) -> None:
        self.calls = 0  # of `encode_batch`

    def encode_batch(self, texts: Iterable[str], max_tokens: int) -> list[Encoded]:
        self.calls += 1
        return [_encoded(text, max_tokens) for text in texts]

    def encode(self, text: str) -> list[int]:
        return [ord(char) for char in text]

    def token_id(self, token: str) -> int | None:
        return {"yes": 121, "no": 110}.get(token)

    def tokens_around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return (), (END,)

    def encode_conversations(
        self, conversations: Iterable[tuple[Any, Mapping[str, Any]]], max_tokens: int
    ) -> list[Encoded]:
        return [_encoded(_rendered(messages), max_tokens) for messages, _ in conversations]


class FakeMatcher:
    """Allows every text."""

    mask_words = 1
    ended = False
    fault = None

    def accept(self, token_id: int) -> None:
        """Forget the token."""

    def write_mask(self, address: int) -> None:
        """Write nothing."""


class FakeGrammar:
    """A grammar, which keeps its text."""

    newlines: Mapping[int, int] = {}

    def __init__(self, text: str) -> None:
        self.text = text

    def matcher(self) -> FakeMatcher:
        return FakeMatcher()


class FakeGrammars:
    """Compiles every grammar in which `unusable` does not stand."""

    def compiled(self, text: str) -> FakeGrammar:
        if "unusable" in text:
            raise ValueError("the grammar is too large")
        return FakeGrammar(text)


def _rendered(messages: Sequence[dict[str, Any]]) -> str | ValueError:
    if any("content" not in message for message in messages):
        return ValueError("the chat template cannot render these messages: 'content' is undefined")
    return "".join(f"<{message['role']}>{message['content']}" for message in messages)


def _encoded(text: str | ValueError, max_tokens: int) -> Encoded:
    if isinstance(text, ValueError):
        return text
    try:
        text.encode()
    except ValueError as error:
        return error
    return [ord(char) for char in text] if len(text) <= max_tokens else TooManyTokens(len(text), exact=True)
