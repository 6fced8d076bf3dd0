"""Encode the prompts of lines with the model's tokenizer, and refuse prompts that cannot run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from jobs.records.completion import ErrorCode
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from model.text.text_encoder import Encoded, TooManyTokens
from worker.shards.pooled_prompts import LABELS, PooledPrompts, PoolingTokenizer

log = logging.getLogger(__name__)

MAX_TOKENS_BEFORE_TRUNCATION = 4_000_000  # longer prompts fail, although their lines ask to cut them


class PromptTokenizer(PoolingTokenizer, Protocol):
    """The tokenizer's interface for `PromptEncoder` (`model.text.tokenizer.Tokenizer`). Results keep the inputs' order.

    An input of more than `max_tokens` tokens gives `TooManyTokens`, and one that cannot be encoded gives a ValueError.
    """

    def encode_batch(self, texts: Iterable[str], max_tokens: int) -> list[Encoded]:
        """Return the token ids of each text."""

    def encode_conversations(
        self, conversations: Iterable[tuple[object, Mapping[str, Any]]], max_tokens: int
    ) -> list[Encoded]:
        """Render each pair of messages and `chat_template_kwargs` with the chat template. Returns the token ids."""


class LineRefused(Exception):
    """A line cannot run."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class PromptEncoder:
    """Encodes prompts. Thread-safe.

    Args:
        tokenizer: The model's tokenizer.
        card: The model's limits.
    """

    def __init__(self, tokenizer: PromptTokenizer, card: ModelCard) -> None:
        self._tokenizer = tokenizer
        self._card = card
        self._pooled = PooledPrompts(tokenizer, card.prompts)

    def encode(self, prompts: Sequence[Prompt]) -> list[Encoded | None]:
        """Encode all texts and conversations. If the batch raises, or a prompt needs no encoding, the result is None.

        Prompts without a result are encoded alone later, so that only the line at fault fails.
        """
        plain = [
            place for place, each in enumerate(prompts) if each.invalid is None and each.truncate_prompt_tokens is None
        ]
        texts = [place for place in plain if prompts[place].text is not None]
        chats = [place for place in plain if prompts[place].messages is not None]
        found: list[Encoded | None] = [None] * len(prompts)
        try:
            of_texts = self._tokenizer.encode_batch((self._text(prompts[place]) for place in texts), self._longest)
            of_chats = self._tokenizer.encode_conversations(
                (self._conversation(prompts[place]) for place in chats), self._longest
            )
        except Exception:
            log.debug("a batch cannot be encoded; encoding one by one", exc_info=True)
            return found
        for place, encoded in zip([*texts, *chats], [*of_texts, *of_chats], strict=True):
            found[place] = encoded
        return found

    def token_ids(self, prompt: Prompt, encoded: Encoded | None, max_tokens: int | None) -> tuple[int, ...]:
        """Return the tokens of a prompt, at least one, cut if the line asks for that.

        Args:
            prompt: A line with one prompt.
            encoded: Its result of `encode`.
            max_tokens: Max new tokens that the line or its job asks for.

        Raises:
            LineRefused: The prompt cannot be used, or is too long.
        """
        if prompt.invalid is not None:
            raise LineRefused(ErrorCode.INVALID_LINE, prompt.invalid)
        if prompt.token_ids is not None:
            return self._checked(self._inside_vocabulary(prompt.token_ids), prompt, max_tokens)
        if encoded is None or (prompt.rerank is not None and isinstance(encoded, TooManyTokens)):
            encoded = self._encode_alone(prompt)
        if isinstance(encoded, TooManyTokens):
            raise self._too_long(encoded.at_least, encoded.exact)
        if isinstance(encoded, ValueError):
            kind = "messages" if prompt.messages is not None else "prompt"
            raise LineRefused(ErrorCode.INVALID_LINE, f"The {kind} cannot be used: {encoded}.") from encoded
        return self._checked(tuple(encoded), prompt, max_tokens)

    def _checked(self, token_ids: tuple[int, ...], prompt: Prompt, max_tokens: int | None) -> tuple[int, ...]:
        kept = self._framed(token_ids, prompt) if prompt.pools else self._truncated(token_ids, prompt, max_tokens)
        if not kept:
            raise LineRefused(ErrorCode.INVALID_LINE, "The prompt is empty: it has no tokens.")
        longest = self._card.max_model_len if prompt.pools else self._longest
        if len(kept) > longest:
            raise self._too_long(len(kept), exact=True, longest=longest)
        return kept

    def _framed(self, token_ids: tuple[int, ...], prompt: Prompt) -> tuple[int, ...]:
        """Return the whole prompt of a line that pools. A document is cut to what the model takes."""
        count, longest = prompt.truncate_prompt_tokens, self._card.max_model_len
        if count == -1 or prompt.rerank is not None:
            count = longest
        keeps_end = prompt.rerank is None and prompt.truncation_side == "left"
        return self._inside_vocabulary(self._pooled.frame(prompt).around(token_ids, count, keeps_end))

    def label_ids(self) -> tuple[int, ...]:
        """Return the tokens whose logits give the score of a document. Raises `LineRefused` if there are none."""
        found = self._pooled.label_ids()
        if found is None:
            names = " and ".join(f"`{label}`" for label in LABELS)
            raise LineRefused(ErrorCode.INVALID_LINE, f"The model cannot rank: its vocabulary lacks {names}.")
        return found

    def _text(self, prompt: Prompt) -> str:
        """Return the text of a prompt as it is encoded."""
        return self._pooled.text(prompt) if prompt.pools else prompt.text or ""

    def _truncated(self, token_ids: tuple[int, ...], prompt: Prompt, max_tokens: int | None) -> tuple[int, ...]:
        """Return the prompt's tokens, cut to the length that the line asks for."""
        count = prompt.truncate_prompt_tokens
        if count is None:
            return token_ids
        if count == -1:
            count = max(1, self._card.max_model_len - (max_tokens or 1))
        return token_ids[-count:] if prompt.truncation_side == "left" else token_ids[:count]

    def _encode_alone(self, prompt: Prompt) -> Encoded:
        is_cut = prompt.truncate_prompt_tokens is not None or prompt.rerank is not None
        longest = MAX_TOKENS_BEFORE_TRUNCATION if is_cut else self._longest
        if prompt.messages is not None:
            (encoded,) = self._tokenizer.encode_conversations([self._conversation(prompt)], longest)
        else:
            (encoded,) = self._tokenizer.encode_batch([self._text(prompt)], longest)
        return encoded

    def _conversation(self, prompt: Prompt) -> tuple[object, Mapping[str, Any]]:
        """Return the arguments of the chat template. A template of calls in XML reads arguments as objects."""
        messages = prompt.messages
        if self._card.tools == "xml" and messages is not None:
            messages = tuple(map(_with_objects, messages))
        return messages, prompt.template_arguments

    def barred_sequences(self, words: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Return the tokens of words that must not be completed, as vLLM does: with and without a space before.

        With a space, a word counts only if it is as many tokens and begins with another one.
        """
        if not words:
            return ()
        texts = [text for word in words for text in (word.lstrip(), f" {word.lstrip()}")]
        found = []
        for word, encoded in zip(texts, self._tokenizer.encode_batch(texts, self._longest), strict=True):
            if not isinstance(encoded, list):
                raise LineRefused(ErrorCode.INVALID_LINE, f"`bad_words` holds {word[:40]!r}, which cannot be encoded.")
            found.append(tuple(encoded))
        pairs = zip(found[::2], found[1::2], strict=True)
        return tuple(
            ids
            for bare, spaced in pairs
            for ids in ((bare, spaced) if len(spaced) == len(bare) and spaced[0] != bare[0] else (bare,))
        )

    def _inside_vocabulary(self, token_ids: tuple[int, ...]) -> tuple[int, ...]:
        outside = next((token for token in token_ids if not 0 <= token < self._card.vocab_size), None)
        if outside is not None:
            message = (
                f"The prompt has the token id {outside}; this model has ids from 0 to {self._card.vocab_size - 1:,}."
            )
            raise LineRefused(ErrorCode.INVALID_LINE, message)
        return token_ids

    @property
    def _longest(self) -> int:
        """Max tokens of a prompt. It leaves one token of the context for the completion."""
        return self._card.max_model_len - 1

    def _too_long(self, num_tokens: int, exact: bool, longest: int | None = None) -> LineRefused:
        return LineRefused(
            ErrorCode.PROMPT_TOO_LONG,
            f"The prompt has {'' if exact else 'at least '}{num_tokens:,} tokens; this worker allows at most "
            f"{longest or self._longest:,}. The model, `--max-model-len` or `--kv-cache-memory` sets this limit.",
        )


def _with_objects(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message whose tool calls have objects as arguments. Texts that hold no object are left as they are."""
    calls = message.get("tool_calls")
    if not calls:
        return message
    functions = [call["function"] for call in calls]
    decoded = [function | {"arguments": _object(function.get("arguments"))} for function in functions]
    return message | {"tool_calls": [call | {"function": each} for call, each in zip(calls, decoded, strict=True)]}


def _object(arguments: str | dict[str, Any] | None) -> object:
    if isinstance(arguments, str):
        try:
            return msgspec.json.decode(arguments or "{}", type=dict[str, Any])
        except ValueError:
            return arguments
    return arguments or {}
