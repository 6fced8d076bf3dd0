"""The engine's inputs and outputs: requests, tickets, results, statistics and errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.stopping.output_constraint import Grammar
from engine.stopping.thought import Thinking
from jobs.records.sampling import FinishReason, SamplingParams


@dataclass(frozen=True)
class Scoring:
    """Choices whose log-probabilities are wanted, instead of a completion that the model chooses.

    Either one choice, whose tokens become the completion one after the other, or several choices of one token each.
    """

    ids: tuple[tuple[int, ...], ...]  # the tokens to score at each place; the first of them becomes the completion's
    choices: tuple[int, ...]  # the caller's numbers of these choices, which the engine does not read


class TokenScore(NamedTuple):
    """Log-probability of a token at its place, and whether the token is the likeliest."""

    logprob: float  # rounded to float32
    is_greedy: bool  # True: no token is likelier


@dataclass(frozen=True)
class Pooling:
    """Reading of the prompt's last hidden state that a request wants. Such a request gets no completion."""

    dimensions: int | None = None  # values of the embedding; None for all of them
    label_ids: tuple[int, ...] = ()  # if not empty: the logits of these tokens instead of an embedding


@dataclass(frozen=True)
class Request:
    """One prompt with its sampling settings."""

    token_ids: tuple[int, ...]  # not empty, all inside the vocabulary
    params: SamplingParams
    group: str = ""  # statistics are kept per group, for example per shard: `Engine.take_group_stats`
    flow: str = ""  # flows share the engine fairly; the lines of one job are one flow
    on_token: Callable[[int], None] | None = None  # called on the engine thread for each new token; must be quick
    barred_sequences: tuple[tuple[int, ...], ...] = ()  # the last token of each never follows the others
    thinking: Thinking | None = None  # None: nothing in the completion is a thought
    grammar: Grammar | None = None  # form of the text after the thought; None: any text
    urgent: bool = False  # True: somebody waits for each token, so other requests give way (`engine.scheduling`)
    logprobs: int | None = None  # number of likeliest tokens to name at each place; None: no log-probabilities
    scoring: Scoring | None = None  # set: nothing is chosen; the settings must be greedy and end by their length
    pooling: Pooling | None = None  # None: the request wants a completion
    # Called in the place of `on_token`, if `logprobs` is set. A token that nothing chose has no log-probabilities.
    on_logprobs: Callable[[int, TokenLogprobs | None], None] | None = None


class TokenLogprobs(NamedTuple):
    """Log-probabilities at one place of a completion: those of the model, before temperature, penalties and masks.

    The likeliest tokens are packed, because a long completion has very many of them.
    """

    own: float  # log-probability of the token that comes there, rounded to float32
    top_ids: bytes  # the likeliest tokens, the likeliest first: int32, little-endian
    top: bytes  # their log-probabilities: float32, little-endian
    scored: tuple[float, ...] = ()  # log-probabilities of the tokens of `Scoring.ids`


@dataclass(frozen=True)
class AnswerLogprobs:
    """The tokens of an answer's text, with their log-probabilities.

    An answer is a completion without its thought, without the newlines after the thought, and without the tokens that
    begin after the stop string that ended it.
    """

    token_ids: tuple[int, ...]
    places: tuple[TokenLogprobs, ...]  # one per token
    token_bytes: dict[int, bytes]  # the bytes of each token that is named, and of the prompt's first one
    ended_by_token: bool  # True: the last token is the one that ended the sequence, and has no text


@dataclass(frozen=True)
class RequestOutput:
    """A finished request. Times are `time.monotonic()` seconds."""

    token_ids: tuple[int, ...]  # the generated tokens, including an eos token that ended the sequence
    text: str  # without thought and special tokens, and cut before the stop string that ended the sequence
    finish_reason: FinishReason
    num_prompt_tokens: int
    arrived_at: float
    admitted_at: float  # when it first entered the batch
    first_token_at: float
    finished_at: float
    reasoning: str | None = None  # text of the thought without its tags; None if the model did not think
    num_reasoning_tokens: int = 0  # tokens of the thought, including its tags
    stop_reason: str | int | None = None  # stop string or stop token that ended the sequence; None for eos and length
    token_gaps: tuple[float, ...] = ()  # seconds between each two successive steps that gave tokens
    logprobs: AnswerLogprobs | None = None  # only if the request asked for them
    scores: tuple[TokenScore, ...] = ()  # one per token of `Scoring.ids`, in their order
    pooled: bytes | None = None  # what `Request.pooling` asks for, little-endian float32; None for a completion

    @property
    def queue_seconds(self) -> float:
        """Time for which the request waited for its place in the batch."""
        return self.admitted_at - self.arrived_at


class RequestInvalid(ValueError):
    """The prompt has no tokens, or a token outside the vocabulary. Other requests are not affected."""


class RequestTooLong(ValueError):
    """The prompt does not fit the model's context or the cache. Other requests are not affected."""


class ConstraintFailed(ValueError):
    """A completion cannot follow its grammar any further. Other requests are not affected."""


@dataclass(eq=False)
class Ticket:
    """The caller's handle of a submitted request. The engine fulfils `future` exactly once.

    `future.result()` returns the `RequestOutput` or raises:

    - `CancelledError` after `Engine.abort` or `Engine.shutdown`,
    - `RequestTooLong` or `RequestInvalid` if the prompt cannot run,
    - `ConstraintFailed` if the grammar is too complex for its matcher,
    - the error that the request's own `on_token` raised,
    - `EngineDead` if the engine thread has failed.
    """

    request: Request
    arrived_at: float = field(default_factory=time.monotonic)
    future: Future[RequestOutput] = field(default_factory=Future)


class EngineDead(RuntimeError):
    """The engine thread has ended because of an error, such as lack of memory. The process must restart."""


@dataclass(frozen=True)
class GroupStats:
    """Engine time and counters of one group.

    The time of a step is divided among its groups in proportion to their sequences in that step.
    """

    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    decode_steps: int = 0  # decode steps with a sequence of the group
    decode_batch_sum: int = 0  # decoding sequences of all groups, summed over these steps
    kv_cache_usage_peak: float = 0.0  # 0 to 1
    decode_tokens: int = 0  # tokens that decode steps fed: new, replayed, known and drafted ones
    output_tokens: int = 0
    drafted_tokens: int = 0  # guessed tokens that decode steps verified
    accepted_tokens: int = 0  # drafted tokens that were right
    cached_tokens: int = 0  # prompt tokens that were in the cache already
    cache_short_steps: int = 0  # decode steps while sequences waited only for cache pages
    cache_short_running_sum: int = 0  # running sequences, summed over these steps
    cache_short_waiting_sum: int = 0  # sequences that waited only for cache pages, summed over these steps
    cache_wanted_peak: float = 0.0  # peak over these steps of `Utilization.cache_wanted`, in cache sizes


@dataclass(frozen=True)
class Utilization:
    """Utilization of the engine: how busy it is. The defaults describe an idle engine."""

    running: int = 0  # sequences in the batch
    waiting: int = 0  # sequences that were submitted and do not run yet
    kv_cache_usage: float = 0.0  # 0 to 1
    output_tokens: int = 0  # new tokens since the start
    held_back: int = 0  # sequences that wait only for cache pages: the batch has free places for them
    prompt_tokens: int = 0  # tokens of completed prompts since the start, looked up in the prefix cache
    cached_tokens: int = 0  # those of them that were in the prefix cache
    drafted_tokens: int = 0  # guessed tokens that were verified since the start
    accepted_tokens: int = 0  # drafted tokens that were right
    preemptions: int = 0  # sequences that lost their pages and are replayed, since the start
    growth: float = 0.0  # pages that running sequences will take, in cache sizes; known only if any are held back

    @property
    def cache_wanted(self) -> float:
        """Cache that lets running and held-back sequences run together, as a multiple of the cache's size.

        A running sequence needs its pages, and the pages that it will take (`Admission`).
        """
        needed = self.kv_cache_usage + self.growth
        return needed * (self.running + self.held_back) / max(self.running, 1)
