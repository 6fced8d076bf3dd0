"""Text to token ids and back, for one model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers

from model.templates.chat_template import ChatTemplate
from model.text.byte_alphabet import token_to_bytes
from model.text.chat_encoder import ChatEncoder
from model.text.messages import MessagesInvalid
from model.text.text_encoder import Encoded, TextEncoder
from model.text.text_stream import TextStream
from model.text.tokenizer_file import load_backend


class Tokenizer:
    """A model's tokenizer and chat template. Safe to use from several threads."""

    def __init__(self, backend: tokenizers.Tokenizer, chat_template: ChatTemplate | None) -> None:
        """Args:
        backend: A byte-level tokenizer, as all of Qwen's are.
        chat_template: None for a model without one.
        """
        added = backend.get_added_tokens_decoder()
        self._backend = backend
        self._encoder = TextEncoder(backend)
        self._chat_encoder = ChatEncoder(backend, self._encoder, chat_template) if chat_template else None
        self._special_ids = frozenset(token_id for token_id, token in added.items() if token.special)
        self._vocab_size = max(backend.get_vocab(with_added_tokens=True).values()) + 1

    @classmethod
    def from_folder(cls, path: Path | str) -> Tokenizer:
        """Load `tokenizer.json` and, where there is one, the chat template.

        Raises:
            ModelUnusable: A file is missing or damaged, or the tokenizer is of a kind that Qwen3 does not have.
        """
        folder = Path(path)
        backend = load_backend(folder / "tokenizer.json")
        return cls(backend, ChatTemplate.from_folder(folder))

    @property
    def vocab_size(self) -> int:
        """The highest token id + 1; the model's own vocabulary may be padded beyond it."""
        return self._vocab_size

    @property
    def has_chat_template(self) -> bool:
        """Whether `encode_messages` can work; base models have no template."""
        return self._chat_encoder is not None

    def encode(self, text: str) -> list[int]:
        """The ids of a raw prompt, as it is: nothing is added, and special tokens spelled in it become those tokens.

        Raises:
            ValueError: The text has a lone surrogate, which no UTF-8 text can hold, or the tokenizer fails on it.
        """
        return _ids(self._encoder.encode(text))

    def encode_batch(self, texts: Iterable[str], most_tokens: int | None = None) -> list[Encoded]:
        """`encode` for many texts, on all processors. One that fails has its error in its place.

        Args:
            texts: Taken a few MB at a time.
            most_tokens: A text of more tokens is `TooManyTokens`. It is not encoded to its end, and not at all if its
                length says enough.
        """
        return list(self._encoder.encode_each(texts, most_tokens))

    def encode_messages(self, messages: object, /, **chat_template_kwargs: object) -> list[int]:
        """The ids of a conversation, rendered by the chat template up to where the assistant answers.

        Only the template writes control tokens: the text of a special token inside a message, a name, a tool or any
        other argument is encoded as ordinary text. (`<think>` and `<tool_call>` are not special tokens.)

        Args:
            messages: A list of messages as the OpenAI API defines them; see `model.text.messages`.
            chat_template_kwargs: Variables for the template, `enable_thinking` say. `tools` is a list of JSON schemas;
                `add_generation_prompt` is true unless given.

        Raises:
            MessagesInvalid: What is given cannot be rendered, or the model has no chat template.
            ValueError: The tokenizer fails on the rendered text.
        """
        (encoded,) = self.encode_conversations([(messages, chat_template_kwargs)])
        return _ids(encoded)

    def encode_conversations(
        self, conversations: Iterable[tuple[object, Mapping[str, Any]]], most_tokens: int | None = None
    ) -> list[Encoded]:
        """`encode_messages` for many pairs of messages and `chat_template_kwargs`.

        One that fails has its error in its place. `most_tokens` is as in `encode_batch`.
        """
        if self._chat_encoder is None:
            missing = MessagesInvalid("this model has no chat template; give `prompt` instead of `messages`")
            return [missing for _ in conversations]
        return list(self._chat_encoder.encode_each(conversations, most_tokens))

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of token ids. Broken UTF-8 becomes U+FFFD; ids that the tokenizer lacks are skipped."""
        return self._backend.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def stream(self, skip_special_tokens: bool = True) -> TextStream:
        """A new incremental `decode`."""
        return TextStream(lambda token_id: self._bytes_of(token_id, skip_special_tokens))

    def token_text(self, token_id: int) -> str:
        """One token's own text, special tokens included; a part of a character shows as U+FFFD."""
        return self.decode([token_id], skip_special_tokens=False)

    def _bytes_of(self, token_id: int, skip_special_tokens: bool) -> bytes:
        if skip_special_tokens and token_id in self._special_ids:
            return b""
        token = self._backend.id_to_token(token_id)
        return b"" if token is None else token_to_bytes(token)


def _ids(encoded: Encoded) -> list[int]:
    """What is encoded without a limit, or its error raised."""
    if isinstance(encoded, ValueError):
        raise encoded
    assert isinstance(encoded, list)
    return encoded
