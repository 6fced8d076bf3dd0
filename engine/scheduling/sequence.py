"""The engine's state of one request."""

from __future__ import annotations

from array import array
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from typing import Self

from engine.request import Request, Ticket
from engine.scheduling.page_allocator import SINK_PAGE
from engine.scheduling.policy import Priority
from engine.stopping.stop_checker import StopChecker
from jobs.records.sampling import FinishReason, SamplingParams


@dataclass(eq=False)
class Sequence:
    """The tokens of one request, the number of them already computed, and the pages that hold them.

    Keys and values of `tokens[:num_computed]` are in the cache. A sequence that lost its pages starts again at zero:
    its prompt is prefilled, then its generated tokens are fed through decode steps, one per step. Prefill must not
    process generated tokens, because prefill and decode kernels round differently. Otherwise a pre-emption could
    change the rest of the completion.
    """

    ticket: Ticket
    stop_checker: StopChecker
    priority: Priority  # smaller is served first; unique per sequence (`engine.scheduling.policy`)
    tokens: list[int] = field(init=False)  # the prompt's tokens, then the generated ones
    num_prompt_tokens: int = field(init=False)
    num_computed: int = 0
    page_table: array[int] = field(default_factory=lambda: array("i"))
    page_digests: tuple[bytes, ...] = ()  # one per page of the prompt (`engine.scheduling.prefix_cache`)
    num_indexed: int = 0  # pages of the table that the prefix index knows
    num_cached: int = 0  # prompt tokens that were in the cache when the sequence entered the batch
    first_token_at: float | None = None  # `time.monotonic()` seconds
    finish_reason: FinishReason | None = None

    def __post_init__(self) -> None:
        self.tokens = list(self.ticket.request.token_ids)
        self.num_prompt_tokens = len(self.tokens)
        self.extend_known(self.stop_checker.take_known_ids(0))

    @classmethod
    def on_sink_page(cls) -> Self:
        """Return a dummy of three tokens that writes to the sink page, for the steps before the first request."""
        params = SamplingParams(max_tokens=1)
        return cls(
            ticket=Ticket(Request((0, 0, 0), params)),
            stop_checker=StopChecker(params, (), 1),
            priority=(0, False, 0, 0),
            page_table=array("i", [SINK_PAGE]),
        )

    @property
    def params(self) -> SamplingParams:
        """Sampling parameters of the request."""
        return self.ticket.request.params

    @property
    def flow(self) -> str:
        """Name of the request's flow. Flows share the engine fairly."""
        return self.ticket.request.flow

    @property
    def num_generated(self) -> int:
        """Number of new tokens so far."""
        return len(self.tokens) - self.num_prompt_tokens

    @property
    def generated(self) -> Items[int]:
        """The new tokens so far, including the one that ended the sequence."""
        return self.tokens[self.num_prompt_tokens :]

    @property
    def num_known_ahead(self) -> int:
        """Number of known tokens after the latest sampled one. They have not been fed yet."""
        return max(0, len(self.tokens) - max(self.num_computed, self.num_prompt_tokens) - 1)

    @property
    def prefilled(self) -> bool:
        """True if the whole prompt is in the cache."""
        return self.num_computed >= self.num_prompt_tokens

    def append(self, token_id: int, now: float) -> None:
        """Append a newly sampled token and the known tokens that must follow. Sets `finish_reason` at the last one.

        Args:
            token_id: The sampled token.
            now: `time.monotonic()` seconds.
        """
        self.tokens.append(token_id)
        if self.first_token_at is None:
            self.first_token_at = now
        self.finish_reason = self.stop_checker.check(token_id, self.num_generated)
        if self.finish_reason is None:
            self.extend_known(self.stop_checker.take_known_ids(self.num_generated))

    def extend_known(self, token_ids: Items[int]) -> None:
        """Append tokens that nothing has to choose, up to the one that ends the sequence.

        Decode steps feed these tokens one by one and sample nothing, as in the replay after a pre-emption.
        """
        for token_id in token_ids:
            self.tokens.append(token_id)
            self.finish_reason = self.stop_checker.check(token_id, self.num_generated)
            if self.finish_reason is not None:
                return
