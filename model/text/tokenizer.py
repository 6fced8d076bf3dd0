"""A model's tokenizer: text to token ids, and token ids to text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import tokenizers

from model.text.byte_level import TextStream, token_to_bytes
from model.text.chat_encoder import ChatEncoder
from model.text.chat_template import ChatTemplate
from model.text.control_tokens import ControlTokens
from model.text.messages import MessagesInvalid
from model.text.text_encoder import Encoded, TextEncoder
from model.text.tokenizer_file import load_backend


class Tokenizer:
    """A model's tokenizer and chat template. Thread-safe."""

    def __init__(self, backend: tokenizers.Tokenizer, chat_template: ChatTemplate | None) -> None:
        """Create a tokenizer.

        Args:
            backend: A byte-level tokenizer. All tokenizers of Qwen are byte-level.
            chat_template: The model's chat template; None if it has none.
        """
        added = backend.get_added_tokens_decoder()
        self._backend = backend
        self._encoder = TextEncoder(backend)
        self._chat_encoder = ChatEncoder(backend, self._encoder, chat_template) if chat_template else None
        self._added_ids = frozenset(added)
        self._added_tokens = ControlTokens([token.content for token in added.values()])
        self._special_ids = frozenset(token_id for token_id, token in added.items() if token.special)
        self._vocab_size = max(backend.get_vocab(with_added_tokens=True).values()) + 1

    @classmethod
    def from_folder(cls, path: Path | str) -> Tokenizer:
        """Load `tokenizer.json` and the chat template, if the folder has one.

        Raises:
            ModelUnusable: A file is missing or damaged, or the kind of tokenizer is not Qwen3's.
        """
        folder = Path(path)
        backend = load_backend(folder / "tokenizer.json")
        return cls(backend, ChatTemplate.from_folder(folder))

    @property
    def vocab_size(self) -> int:
        """The highest token id + 1. The model's vocabulary may be larger, because of padding."""
        return self._vocab_size

    def token_id(self, token: str) -> int | None:
        """Return the id of a token, such as `<think>`. None if the vocabulary does not have the token."""
        found: int | None = self._backend.token_to_id(token)
        return found

    def tokens_around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the tokens that the post-processor puts before and after each text.

        Qwen3-Embedding puts `<|endoftext|>` after a text. `encode` and the chat template do not use the post-processor.
        """
        bare, whole = (self._backend.encode("a", add_special_tokens=special).ids for special in (False, True))
        start = next(place for place in range(len(whole)) if whole[place : place + len(bare)] == bare)
        return tuple(whole[:start]), tuple(whole[start + len(bare) :])

    @property
    def has_chat_template(self) -> bool:
        """True if the model has a chat template, which `encode_messages` needs. Base models have none."""
        return self._chat_encoder is not None

    def encode(self, text: str) -> list[int]:
        """Return the ids of a raw prompt. Adds no tokens. Special tokens spelled out in the text become these tokens.

        Raises:
            ValueError: The text has a lone surrogate, which UTF-8 cannot encode, or the tokenizer fails on it.
        """
        return _ids(self._encoder.encode(text))

    def encode_batch(self, texts: Iterable[str], max_tokens: int | None = None) -> list[Encoded]:
        """Encode many texts on all processors. The result of a failed text is its error.

        Args:
            texts: The texts, which are taken a few MB at a time.
            max_tokens: Maximum number of tokens. The result of a longer text is `TooManyTokens`. Encoding stops as
                soon as the text is known to be too long, at best before it begins.
        """
        return list(self._encoder.encode_each(texts, max_tokens))

    def encode_messages(self, messages: object, /, **chat_template_kwargs: object) -> list[int]:
        """Return the ids of a conversation, rendered by the chat template up to the start of the assistant's answer.

        Only the template writes control tokens. If a message, a name, a tool or another argument contains the text of a
        special token, it is encoded as ordinary text. (`<think>` and `<tool_call>` are not special tokens.)

        Args:
            messages: A list of messages in the format of the OpenAI API (see `model.text.messages`).
            chat_template_kwargs: Variables for the template, such as `enable_thinking`. `tools` is a list of JSON
                schemas. `add_generation_prompt` is true by default. With `continue_final_message=True` the conversation
                ends with the last message's text.

        Raises:
            MessagesInvalid: The arguments cannot be rendered, or the model has no chat template.
            ValueError: The tokenizer fails on the rendered text.
        """
        (encoded,) = self.encode_conversations([(messages, chat_template_kwargs)])
        return _ids(encoded)

    def encode_conversations(
        self, conversations: Iterable[tuple[object, Mapping[str, Any]]], max_tokens: int | None = None
    ) -> list[Encoded]:
        """Encode many conversations, each a pair of messages and `chat_template_kwargs` (see `encode_messages`).

        The result of a failed conversation is its error. `max_tokens` has the meaning of `encode_batch`.
        """
        if self._chat_encoder is None:
            missing = MessagesInvalid("this model has no chat template; give `prompt` instead of `messages`")
            return [missing for _ in conversations]
        return list(self._chat_encoder.encode_each(conversations, max_tokens))

    def to_json(self) -> str:
        """Return the tokenizer as the text of a `tokenizer.json`."""
        return str(self._backend.to_str())

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Return the text of token ids. Invalid UTF-8 becomes U+FFFD. Unknown ids are skipped."""
        return self._backend.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def decode_for_people(self, ids: Sequence[int]) -> str:
        r"""Return the text of token ids, with special tokens.

        A backslash breaks up ordinary text that looks like a special token: `<\|im_end|>`.
        """
        runs = groupby(ids, self._added_ids.__contains__)
        texts = ((is_added, self.decode(list(run), skip_special_tokens=False)) for is_added, run in runs)
        return "".join(text if is_added else str(self._added_tokens.break_up(text, "\\")) for is_added, text in texts)

    def stream(self, skip_special_tokens: bool = True) -> TextStream:
        """Return a new stream that decodes token by token."""
        return TextStream(lambda token_id: self._bytes_of(token_id, skip_special_tokens))

    def token_text(self, token_id: int) -> str:
        """Return the text of a single token, including special tokens. A part of a character becomes U+FFFD."""
        return self.decode([token_id], skip_special_tokens=False)

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of a single token, special or not. They may be a part of a character."""
        token = self._backend.id_to_token(token_id)
        return b"" if token is None else token_to_bytes(token)

    def _bytes_of(self, token_id: int, skip_special_tokens: bool) -> bytes:
        if skip_special_tokens and token_id in self._special_ids:
            return b""
        return self.token_bytes(token_id)


def _ids(encoded: Encoded) -> list[int]:
    """Return the ids of a text that was encoded without a limit, or raise its error."""
    if isinstance(encoded, ValueError):
        raise encoded
    assert isinstance(encoded, list)
    return encoded
