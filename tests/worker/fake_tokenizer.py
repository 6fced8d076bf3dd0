"""A tokenizer whose ids are code points: a test can read its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs.errors import InvalidInput

VOCAB_SIZE = 0x110000


class FakeTokenizer:
    """Refuses lone surrogates as the real library does, with a TypeError and for the whole batch."""

    def __init__(self) -> None:
        self.calls = 0

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        self.calls += 1
        for text in texts:
            if any(0xD800 <= ord(char) < 0xE000 for char in text):
                raise TypeError("TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, InputSequence]]")
        return [[ord(char) for char in text] for text in texts]

    def encode_messages(self, messages: Sequence[dict[str, Any]], **template_kwargs: object) -> list[int]:
        if any("content" not in message for message in messages):
            raise InvalidInput("The chat template failed: 'content' is undefined.")
        text = "".join(f"<{message['role']}>{message['content']}" for message in messages)
        return [ord(char) for char in text]
