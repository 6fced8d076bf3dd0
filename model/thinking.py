"""The tokens around a model's thoughts, and what a prompt says about thinking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from model.text.tokenizer import Tokenizer

# Qwen's own sentence for a thought that has reached its budget: 24 tokens in Qwen3's tokenizer.
_CLOSING_TEXT = (
    "\n\nConsidering the limited time by the user, I have to give the solution based on the thinking directly now.\n"
    "</think>\n\n"
)


class ThinkingMode(StrEnum):
    """State of thinking at the end of a rendered conversation."""

    OPEN = "open"  # the template has begun the thought: every completion begins inside it
    OFF = "off"  # the template has begun and ended an empty thought
    MAY_OPEN = "may_open"  # the completion's first token may begin a thought


@dataclass(frozen=True)
class ThinkingTokens:
    """The ids of a model's thinking tags, from its tokenizer."""

    start_id: int  # <think>
    end_id: int  # </think>
    turn_id: int  # <|im_start|>
    closing_ids: tuple[int, ...]  # the sentence that ends a thought at its budget, including </think>

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self | None:
        """Return the ids, or None if the tokenizer lacks a tag, because its model cannot think."""
        ids = [tokenizer.token_id(text) for text in ("<think>", "</think>", "<|im_start|>")]
        start, end, turn = ids
        if start is None or end is None or turn is None:
            return None
        return cls(start, end, turn, tuple(tokenizer.encode(_CLOSING_TEXT)))

    def mode(self, prompt_ids: Sequence[int]) -> ThinkingMode:
        """Return what a rendered conversation says about thinking.

        Only the tokens after the last `<|im_start|>` count: `<think>` is no special token, so users can write it.

        Args:
            prompt_ids: Ids of a conversation that ends with the beginning of the assistant's turn.
        """
        for token_id in reversed(prompt_ids):
            if token_id == self.start_id:
                return ThinkingMode.OPEN
            if token_id == self.end_id:
                return ThinkingMode.OFF
            if token_id == self.turn_id:
                break
        return ThinkingMode.MAY_OPEN
