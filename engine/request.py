"""What goes into the engine and what comes out of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from jobs.records.sampling import FinishReason, SamplingParams


@dataclass(frozen=True)
class Request:
    """One prompt for the engine."""

    token_ids: tuple[int, ...]  # at least one, all inside the vocabulary
    params: SamplingParams
    group: str = ""  # statistics are kept a group (a shard, say): `Engine.take_group_stats`
    flow: str = ""  # flows share the engine fairly: the lines of a job are one
    on_token: Callable[[int], None] | None = None  # called on the engine thread for each new token; must be quick


@dataclass(frozen=True)
class RequestOutput:
    """A finished request. Times are `time.monotonic()` seconds."""

    token_ids: tuple[int, ...]  # what was generated, the eos token included when it ended the sequence
    text: str  # special tokens skipped, cut before the stop string that ended it
    finish_reason: FinishReason
    num_prompt_tokens: int
    arrived_at: float
    first_token_at: float
    finished_at: float


class RequestInvalid(ValueError):
    """The prompt has no tokens, or one outside the vocabulary; the engine goes on without it."""


class RequestTooLong(ValueError):
    """The prompt does not fit the model's context or the cache; the engine goes on without it."""


@dataclass(eq=False)
class Ticket:
    """The caller's end of a submitted request. The engine fulfils `future` exactly once.

    `future.result()` gives the `RequestOutput`; it raises `CancelledError` after `Engine.abort` or `Engine.shutdown`,
    `RequestTooLong`, `RequestInvalid`, what the request's own `on_token` raised, or `EngineDead` when the engine thread
    has failed.
    """

    request: Request
    arrived_at: float = field(default_factory=time.monotonic)
    future: Future[RequestOutput] = field(default_factory=Future)


class EngineDead(RuntimeError):
    """The engine thread has stopped on an error (a device error, no memory); the process must restart."""


@dataclass(frozen=True)
class GroupStats:
    """Engine time of one group. A step shared by several groups is divided by their sequences in it."""

    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    decode_steps: int = 0  # steps that held a sequence of the group
    decode_batch_sum: int = 0  # sum of the whole batch's size over those steps
    kv_cache_usage_peak: float = 0.0  # 0 to 1
    output_tokens: int = 0
    cache_short_steps: int = 0  # decode steps in which sequences waited for room in the cache alone
    cache_short_running_sum: int = 0  # sequences that ran, summed over these steps
    cache_short_waiting_sum: int = 0  # sequences that waited for room, summed over these steps
    cache_wanted_peak: float = 0.0  # in sizes of the cache: what all of them would have filled, at most


@dataclass(frozen=True)
class EngineLoad:
    """How busy the engine is at this moment."""

    running: int  # sequences in the batch
    waiting: int  # submitted, not running
    kv_cache_usage: float  # 0 to 1
    output_tokens: int  # since the start
    held_back: int = 0  # sequences that wait for room in the cache alone: the batch has places for them

    @property
    def cache_wanted(self) -> float:
        """How much cache would hold those that run and those that are held back, in sizes of the cache."""
        return self.kv_cache_usage * (self.running + self.held_back) / max(self.running, 1)
