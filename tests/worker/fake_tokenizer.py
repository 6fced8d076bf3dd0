"""A tokenizer whose ids are code points: a test can read its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

VOCAB_SIZE = 0x110000


class FakeTokenizer:
    """Refuses as the real one does: lone surrogates fail the whole batch, bad messages raise a `ValueError`."""

    def __init__(self) -> None:
        self.calls = 0

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        self.calls += 1
        for text in texts:
            text.encode()
        return [[ord(char) for char in text] for text in texts]

    def encode_messages(self, messages: Sequence[dict[str, Any]], /, **chat_template_kwargs: Any) -> list[int]:
        if any("content" not in message for message in messages):
            raise ValueError("the chat template cannot render these messages: 'content' is undefined")
        text = "".join(f"<{message['role']}>{message['content']}" for message in messages)
        return [ord(char) for char in text]
