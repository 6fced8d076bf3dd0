"""The constraint on one completion: which tokens may come next, and when nothing may follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from engine.stopping.thought import Thought

_MAX_NEWLINES = 2  # between a thought and the text that the grammar is about, as Qwen3 writes it


class Matcher(Protocol):
    """Follows one completion through a grammar (`model.grammar.Matcher`)."""

    mask_words: int  # number of int32 in a mask

    @property
    def ended(self) -> bool:
        """True if nothing may follow the text so far."""

    @property
    def fault(self) -> str | None:
        """Reason why the matcher has given up. None if it works."""

    def accept(self, token_id: int) -> None:
        """Add the next token."""

    def write_mask(self, address: int) -> None:
        """Write a bit per token, which is set if the token may come next. Safe on any thread, one at a time."""


class Grammar(Protocol):
    """Constraint on the text of a completion (`model.grammar.Grammar`)."""

    newlines: Mapping[int, int]  # ids of the tokens that are only newlines, and their numbers of newlines

    def matcher(self) -> Matcher:
        """Return a matcher for one completion."""


class OutputConstraint:
    """Follows one completion through its thought and then through its grammar.

    Inside a thought every token may come but those that would end the completion. After a thought up to two newlines
    may come. Then the grammar begins. Everything here is a function of the completion's own tokens.

    Args:
        grammar: What the text after the thought must look like.
        thought: Follows the completion's thought. It gets each token before `push`. None if there can be no thought.
        ending_ids: Tokens that would end the completion.
    """

    def __init__(self, grammar: Grammar, thought: Thought | None, ending_ids: Iterable[int]) -> None:
        self.matcher = grammar.matcher()
        self._newlines = grammar.newlines
        self._newlines_left = 0
        self._thought = thought
        self._ending_ids = frozenset(ending_ids)

    @property
    def ended(self) -> bool:
        """True if nothing may follow, so that the completion is complete without an eos token."""
        return self.matcher.ended

    @property
    def fault(self) -> str | None:
        """Reason why the completion cannot go on. None if it can."""
        return self.matcher.fault

    @property
    def barred_ids(self) -> frozenset[int] | None:
        """Tokens that may not come next inside a thought, where the grammar does not count. None outside."""
        return self._ending_ids if self._thought is not None and self._thought.is_open else None

    @property
    def further_ids(self) -> tuple[int, ...]:
        """Tokens that may come next beside those of the grammar: the start of a thought, or newlines after it."""
        if self._thought is not None and self._thought.may_open:
            return (self._thought.start_id,)
        return tuple(token_id for token_id, count in self._newlines.items() if count <= self._newlines_left)

    def push(self, token_id: int, in_thought: bool) -> None:
        """Add the next token of the completion.

        Args:
            token_id: The token.
            in_thought: True if the token belongs to the thought, tags included.
        """
        if in_thought:
            self._newlines_left = _MAX_NEWLINES
        elif self._newlines.get(token_id, _MAX_NEWLINES + 1) <= self._newlines_left:
            self._newlines_left -= self._newlines[token_id]
        else:
            self._newlines_left = 0
            self.matcher.accept(token_id)
