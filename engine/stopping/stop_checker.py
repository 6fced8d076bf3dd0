"""The check that decides when a sequence ends."""

from __future__ import annotations

from collections.abc import Iterable

from engine.stopping.output_constraint import Grammar, OutputConstraint
from engine.stopping.stop_strings import StopStringFinder
from engine.stopping.thought import Thought
from jobs.records.sampling import FinishReason, SamplingParams


class StopChecker:
    """Decides after each new token of one sequence whether the sequence has ended.

    Args:
        params: The sequence's settings. `max_new_tokens` replaces `params.max_tokens`.
        eos_token_ids: Tokens that end a sequence unless `params.ignore_eos` is set.
        max_new_tokens: `params.max_tokens`, or less if the model's context ends earlier.
        finder: Finds the sequence's stop strings; None if it has none. It does not get the tokens of a thought.
        thought: Follows the sequence's thought; None if it cannot think.
        grammar: What the text after the thought must look like; None if any text may come.
    """

    def __init__(
        self,
        params: SamplingParams,
        eos_token_ids: Iterable[int],
        max_new_tokens: int,
        finder: StopStringFinder | None = None,
        thought: Thought | None = None,
        grammar: Grammar | None = None,
    ) -> None:
        ending = () if params.ignore_eos else eos_token_ids
        self._eos_token_ids = frozenset(ending)
        self.stop_token_ids = frozenset(ending) | frozenset(params.stop_token_ids)
        self.max_new_tokens = max_new_tokens
        self.text: str | None = None  # text before the stop string that ended the sequence; None until then
        self.stop_reason: str | int | None = None  # the stop string or stop token that ended the sequence; None for eos
        self.ended_by_token = False  # True if an eos or stop token ended the sequence; the text excludes that token
        self.thought = thought
        self.constraint = OutputConstraint(grammar, thought, self.stop_token_ids) if grammar is not None else None
        self._min_tokens = params.min_tokens
        self._finder = finder

    def barred_token_ids(self, num_generated: int) -> frozenset[int]:
        """Return the tokens that `min_tokens` forbids after `num_generated` new ones."""
        return self.stop_token_ids if num_generated < self._min_tokens else frozenset()

    def take_known_ids(self, num_generated: int) -> tuple[int, ...]:
        """Return the tokens that must come after `num_generated` ones, which nothing has to choose. Returns them once.

        They do not come first if one of them would end the sequence: a sequence has at least one sampled token.
        """
        if self.thought is None:
            return ()
        closing = self.thought.closing_ids
        if num_generated == 0 and (len(closing) >= self.max_new_tokens or self.stop_token_ids.intersection(closing)):
            return ()
        return self.thought.take_closing_ids()

    def check(self, token_id: int, num_generated: int) -> FinishReason | None:
        """Return the finish reason if this token ends the sequence, else None.

        Call this once per new token, in order.

        Args:
            token_id: The new token.
            num_generated: Number of new tokens so far, including this one.
        """
        in_thought = self.thought is not None and self.thought.push(token_id)
        if self.constraint is not None:
            self.constraint.push(token_id, in_thought)
        may_stop = num_generated > self._min_tokens
        if may_stop and token_id in self.stop_token_ids:
            self.ended_by_token = True
            self.stop_reason = None if token_id in self._eos_token_ids else token_id
            return FinishReason.STOP
        if self._finder is not None and not in_thought:
            self.text = self._finder.push(token_id, searching=may_stop)
            if self.text is not None:
                self.stop_reason = self._finder.found
                return FinishReason.STOP
        if self.constraint is not None and self.constraint.ended:
            return FinishReason.STOP
        return FinishReason.LENGTH if num_generated >= self.max_new_tokens else None
