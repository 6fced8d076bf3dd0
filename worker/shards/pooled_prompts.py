"""The prompts of lines that ask for embeddings or for a ranking: what stands around each text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from jobs.records.prompt import EmbedWish, Prompt, RerankWish

# Source: the model cards of Qwen3-Embedding and Qwen3-Reranker.
_QUERY = "Instruct: {instruction}\nQuery:"
_PAIR = "<Instruct>: {instruction}\n<Query>: {query}\n<Document>: "
_USUAL_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
_BEFORE_PAIR = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
_AFTER_PAIR = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
LABELS = ("yes", "no")  # tokens whose logits give the score of a document


class PoolingTokenizer(Protocol):
    """Interface of the tokenizer (`model.text.tokenizer.Tokenizer`)."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""

    def token_id(self, token: str) -> int | None:
        """Return the id of a token. None if the vocabulary does not have it."""

    def tokens_around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the tokens that the post-processor puts before and after each text."""


@dataclass(frozen=True)
class Frame:
    """The tokens before and after a text. They stay when the text is cut."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    def around(self, token_ids: tuple[int, ...], max_tokens: int | None, keeps_end: bool = False) -> tuple[int, ...]:
        """Return the whole prompt.

        Args:
            token_ids: Tokens of the text.
            max_tokens: Max tokens of the prompt, for which the text is cut; None to cut nothing.
            keeps_end: True to cut the beginning of the text, not its end.
        """
        if max_tokens is not None:
            room = max(0, max_tokens - len(self.before) - len(self.after))
            token_ids = token_ids[max(0, len(token_ids) - room) :] if keeps_end else token_ids[:room]
        return (*self.before, *token_ids, *self.after)


class PooledPrompts:
    """Makes the prompts of lines that pool. Thread-safe.

    Args:
        tokenizer: The model's tokenizer.
        named_prompts: Texts that a line can put before its own by a name (`ModelCard.prompts`).
    """

    def __init__(self, tokenizer: PoolingTokenizer, named_prompts: Mapping[str, str]) -> None:
        self._tokenizer = tokenizer
        self._named_prompts = named_prompts

    def text(self, part: Prompt) -> str:
        """Return the text of a part of a line that is encoded, with the words before it."""
        assert part.text is not None
        if part.embed is not None:
            return self._words_before(part.embed) + part.text
        assert part.rerank is not None
        return _pair(part.rerank) + part.text

    def frame(self, part: Prompt) -> Frame:
        """Return the tokens around a text. Token ids that the line gives itself get no further tokens."""
        if part.rerank is not None:
            return self._frame_of_pair
        return Frame((), ()) if part.token_ids is not None else self._frame_of_text

    @cached_property
    def _frame_of_pair(self) -> Frame:
        return Frame(tuple(self._tokenizer.encode(_BEFORE_PAIR)), tuple(self._tokenizer.encode(_AFTER_PAIR)))

    @cached_property
    def _frame_of_text(self) -> Frame:
        return Frame(*self._tokenizer.tokens_around())

    def label_ids(self) -> tuple[int, ...] | None:
        """Return the ids of `LABELS`. None if the vocabulary lacks one of them."""
        found = [self._tokenizer.token_id(label) for label in LABELS]
        ids = tuple(each for each in found if each is not None)
        return ids if len(ids) == len(LABELS) else None

    def _words_before(self, wish: EmbedWish) -> str:
        if wish.instruction is not None:
            return _QUERY.format(instruction=wish.instruction)
        return "" if wish.prompt_name is None else self._named_prompts.get(wish.prompt_name, "")


def _pair(wish: RerankWish) -> str:
    return _PAIR.format(instruction=wish.instruction or _USUAL_INSTRUCTION, query=wish.query)
