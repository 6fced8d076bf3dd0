"""A request on its way through the engine."""

from __future__ import annotations

from array import array
from collections.abc import Sequence as Items
from dataclasses import dataclass, field

from engine.request import Ticket
from engine.scheduling.policy import Priority
from engine.stopping.stop_checker import StopChecker
from jobs.records.sampling import FinishReason, SamplingParams


@dataclass(eq=False)
class Sequence:
    """The tokens of one request, how far they are computed, and the pages that hold them.

    `tokens[:num_computed]` have their keys and values in the cache. A sequence that lost its pages begins again at
    zero: its prompt is prefilled, then the tokens it had generated are fed through decode steps one by one. They must
    not be prefilled, because prefill and decode kernels round differently, and the rest of the completion would then
    depend on whether there had been a pre-emption.
    """

    ticket: Ticket
    stop_checker: StopChecker
    priority: Priority  # smaller is served first; unique (`engine.scheduling.policy`)
    tokens: list[int] = field(init=False)  # the prompt's, then the generated ones
    num_prompt_tokens: int = field(init=False)
    num_computed: int = 0
    block_table: array[int] = field(default_factory=lambda: array("i"))
    first_token_at: float | None = None  # `time.monotonic()` seconds
    finish_reason: FinishReason | None = None

    def __post_init__(self) -> None:
        self.tokens = list(self.ticket.request.token_ids)
        self.num_prompt_tokens = len(self.tokens)

    @property
    def params(self) -> SamplingParams:
        return self.ticket.request.params

    @property
    def flow(self) -> str:
        """Whose it is: flows share the engine."""
        return self.ticket.request.flow

    @property
    def num_generated(self) -> int:
        return len(self.tokens) - self.num_prompt_tokens

    @property
    def generated(self) -> Items[int]:
        """The new tokens so far, the one that ended the sequence included."""
        return self.tokens[self.num_prompt_tokens :]

    @property
    def prefilled(self) -> bool:
        """Whether the whole prompt is in the cache."""
        return self.num_computed >= self.num_prompt_tokens

    def append(self, token_id: int, now: float) -> None:
        """Take a newly sampled token and decide whether it is the last: then `finish_reason` is set."""
        self.tokens.append(token_id)
        if self.first_token_at is None:
            self.first_token_at = now
        self.finish_reason = self.stop_checker.check(token_id, self.num_generated)
