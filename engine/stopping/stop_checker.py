"""When a sequence ends."""

from __future__ import annotations

from collections.abc import Iterable

from engine.stopping.stop_strings import StopStringFinder
from jobs.records.sampling import FinishReason, SamplingParams


class StopChecker:
    """Decides after each new token of one sequence whether it was the last.

    Args:
        params: The sequence's settings; `max_tokens` is replaced by `max_new_tokens`.
        eos_token_ids: Tokens that end a sequence unless `params.ignore_eos`.
        max_new_tokens: `params.max_tokens`, or less where the model's context ends earlier.
        finder: For the sequence's stop strings; None if it has none.
    """

    def __init__(
        self,
        params: SamplingParams,
        eos_token_ids: Iterable[int],
        max_new_tokens: int,
        finder: StopStringFinder | None = None,
    ) -> None:
        ending = () if params.ignore_eos else eos_token_ids
        self.stop_token_ids = frozenset(ending) | frozenset(params.stop_token_ids)
        self.max_new_tokens = max_new_tokens
        self.text: str | None = None  # set when a stop string ended the sequence: what stands before it
        self.ended_by_token = False  # whether an eos or stop token ended it: that one is not part of the text
        self._min_tokens = params.min_tokens
        self._finder = finder

    def barred_token_ids(self, num_generated: int) -> frozenset[int]:
        """Tokens that must not be sampled after `num_generated` new ones, because of `min_tokens`."""
        return self.stop_token_ids if num_generated < self._min_tokens else frozenset()

    def check(self, token_id: int, num_generated: int) -> FinishReason | None:
        """Whether `token_id`, the `num_generated`-th new token (from 1), ends the sequence, and why.

        Must see every new token once, in order.
        """
        may_stop = num_generated > self._min_tokens
        if may_stop and token_id in self.stop_token_ids:
            self.ended_by_token = True
            return FinishReason.STOP
        if self._finder is not None:
            self.text = self._finder.push(token_id, searching=may_stop)
            if self.text is not None:
                return FinishReason.STOP
        return FinishReason.LENGTH if num_generated >= self.max_new_tokens else None
