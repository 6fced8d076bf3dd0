"""The thought at the beginning of a completion: where it ends, and how a budget ends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.stopping.stop_strings import TokenStream

MAX_CHARACTER_TOKENS = 4  # a character has at most four bytes, so it has at most four tokens


@dataclass(frozen=True)
class Thinking:
    """Rules for the thought of a completion: the model's tags, and whether the prompt has begun a thought."""

    start_id: int
    end_id: int
    is_open: bool  # True: the prompt has begun a thought. False: only the completion's first token may begin one.
    closing_ids: tuple[int, ...] = ()  # tokens that end a thought at its budget, including the end tag


class Thought:
    """Follows one completion, token by token. A thought ends at the first end tag after its beginning.

    Args:
        thinking: The model's tags, and whether the prompt has begun the thought.
        budget: Number of tokens inside the thought after which the closing tokens follow. None for no limit.
        stream: Decodes the thought, so that a budget does not end inside a character. Read only with a budget.
    """

    def __init__(self, thinking: Thinking, budget: int | None, stream: TokenStream) -> None:
        self.is_open = thinking.is_open
        self.start_id = thinking.start_id
        self.closing_ids = thinking.closing_ids
        self.num_tokens = 0  # tokens of the thought so far, including its tags
        self._thinking = thinking
        self._budget = budget
        self._stream = stream
        self._num_inside = 0  # without tags
        self.may_open = not thinking.is_open  # True: the next token may begin the thought
        self._closing = False  # the closing tokens are under way

    @property
    def began(self) -> bool:
        """True if the completion has a thought, even an empty one."""
        return self._thinking.is_open or self.num_tokens > 0

    @property
    def ended(self) -> bool:
        """True after the end tag."""
        return self.began and not self.is_open

    def inside(self, token_ids: Sequence[int]) -> Sequence[int]:
        """Return the part of a completion's tokens that is inside the thought, without its tags."""
        first = 0 if self._thinking.is_open else 1
        return token_ids[first : self.num_tokens - 1 if self.ended else self.num_tokens]

    def push(self, token_id: int) -> bool:
        """Add the next token of the completion. Returns True if the token belongs to the thought."""
        if self.may_open:
            self.may_open = False
            self.is_open = token_id == self._thinking.start_id
            self.num_tokens = int(self.is_open)
            return self.is_open
        if not self.is_open:
            return False
        self.num_tokens += 1
        if token_id == self._thinking.end_id:
            self.is_open = False
        else:
            self._num_inside += 1
            if self._budget is not None:
                self._stream.push(token_id)
        return True

    def take_closing_ids(self) -> tuple[int, ...]:
        """Return the tokens that must come next because the budget is used up, else no tokens. Returns them once.

        Inside a character, they wait until the character is complete, for at most three tokens.
        """
        if not self.is_open or self._closing or self._budget is None or self._num_inside < self._budget:
            return ()
        is_late = self._num_inside >= self._budget + MAX_CHARACTER_TOKENS - 1
        if not (self._stream.is_complete or is_late):
            return ()
        self._closing = True
        return self.closing_ids


class AnswerStream:
    """The text of a completion after its thought, without the newlines between the end tag and the answer.

    Args:
        stream: Decodes the tokens of the answer.
        thought: The completion's thought. If the completion has none, the text keeps its newlines.
    """

    def __init__(self, stream: TokenStream, thought: Thought) -> None:
        self._stream = stream
        self._thought = thought
        self._has_text = False

    @property
    def is_complete(self) -> bool:
        """True if no character is incomplete."""
        return self._stream.is_complete

    def push(self, token_id: int) -> str:
        """Add a token of the answer and return the text that it completes."""
        text = self._stream.push(token_id)
        if not self._has_text and self._thought.began:
            text = text.lstrip("\n")
        self._has_text = self._has_text or bool(text)
        return text
