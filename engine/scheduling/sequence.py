"""The engine's state of one request."""

from __future__ import annotations

from array import array
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from engine.request import Pooling, Request, Ticket, TokenLogprobs, TokenScore
from engine.scheduling.page_allocator import SINK_PAGE
from engine.scheduling.policy import Priority
from engine.scheduling.prefix_index import PromptPages
from engine.speculation.drafting import Guesses
from engine.stopping.stop_checker import StopChecker
from jobs.records.sampling import FinishReason, SamplingParams


class Sampled(NamedTuple):
    """A token that a step has sampled for a sequence whose request asks for log-probabilities."""

    token_id: int
    logprobs: TokenLogprobs


@dataclass(eq=False)
class Sequence:
    """The tokens of one request, the number of them already computed, and the pages that hold them.

    Keys and values of `tokens[:num_computed]` are in the cache. A sequence that lost its pages starts again at zero.
    Its prompt is prefilled. Then decode steps feed its generated tokens, many per step. Prefill must not process
    generated tokens, because prefill and decode kernels round differently. Otherwise a pre-emption could change the
    rest of the completion.
    """

    ticket: Ticket
    stop_checker: StopChecker
    priority: Priority  # smaller is served first; unique per sequence (`engine.scheduling.policy`)
    tokens: list[int] = field(init=False)  # the prompt's tokens, then the generated ones
    num_prompt_tokens: int = field(init=False)
    # One entry per generated token, if the request asks for log-probabilities. None for a token that nothing chose.
    logprobs: list[TokenLogprobs | None] = field(default_factory=list)
    scores: list[TokenScore] = field(default_factory=list)  # scores of the tokens that the request names
    num_computed: int = 0
    page_table: array[int] = field(default_factory=lambda: array("i"))
    prompt_pages: PromptPages = field(default_factory=PromptPages)  # the prompt in the form of the prefix index
    num_indexed: int = 0  # pages of the table that the prefix index knows
    num_cached: int = 0  # prompt tokens that were in the cache when the sequence entered the batch
    draft: tuple[int, ...] = ()  # guessed next tokens that the present step verifies (`engine.speculation.drafting`)
    guesses: Guesses = field(default_factory=Guesses)
    num_new: int = 1  # tokens that the latest sampling step appended
    num_right: int = 0  # drafted tokens among them
    admitted_at: float | None = None  # when it first entered the batch, in `time.monotonic()` seconds
    first_token_at: float | None = None  # `time.monotonic()` seconds
    latest_token_at: float | None = None  # `time.monotonic()` seconds
    token_gaps: array[float] = field(default_factory=lambda: array("f"))  # seconds between steps that gave tokens
    finish_reason: FinishReason | None = None
    pooled: bytes | None = None  # set at the end of a sequence that pools (`engine.request.RequestOutput.pooled`)
    num_page_losses: int = 0  # how often it lost its pages while urgent sequences ran
    gave_way: bool = False  # True: it has lost its place to an urgent sequence once, and will not again

    def __post_init__(self) -> None:
        self.tokens = list(self.ticket.request.token_ids)
        self.num_prompt_tokens = len(self.tokens)
        self.extend_known(self.stop_checker.take_known_ids(0))

    @classmethod
    def on_sink_page(cls, pooling: Pooling | None = None) -> Self:
        """Return a dummy of three tokens that writes to the sink page, for the steps before the first request."""
        params = SamplingParams(max_tokens=1)
        return cls(
            ticket=Ticket(Request((0, 0, 0), params, pooling=pooling)),
            stop_checker=StopChecker(params, (), 1),
            priority=(True, 0, False, 0, 0),
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
    def urgent(self) -> bool:
        """True if other sequences give way to this one."""
        return self.ticket.request.urgent

    @property
    def pools(self) -> bool:
        """True if the sequence ends with its prompt, whose last hidden state it wants."""
        return self.ticket.request.pooling is not None

    @property
    def num_generated(self) -> int:
        """Number of new tokens so far."""
        return len(self.tokens) - self.num_prompt_tokens

    @property
    def generated(self) -> Items[int]:
        """The new tokens so far, including the one that ended the sequence."""
        return self.tokens[self.num_prompt_tokens :]

    @property
    def prefilled(self) -> bool:
        """True if the whole prompt is in the cache."""
        return self.num_computed >= self.num_prompt_tokens

    @property
    def num_pending(self) -> int:
        """Number of known tokens that are not in the cache yet."""
        return len(self.tokens) - self.num_computed

    @property
    def num_left(self) -> int:
        """Number of new tokens until the sequence has its maximum length."""
        return self.stop_checker.max_new_tokens - self.num_generated

    @property
    def known_length(self) -> int:
        """Number of tokens that the cache must hold at the end, as far as that is known: at least those known now."""
        _, _, length_is_known, *_ = self.priority
        left = self.num_left if length_is_known else 1
        return len(self.tokens) + left - 1  # the last token is never fed

    def scored_ids(self, num_drafted: int) -> tuple[int, ...]:
        """Return the tokens to score after the tokens so far and `num_drafted` drafted ones. Empty if none are."""
        scoring = self.ticket.request.scoring
        return () if scoring is None else scoring.ids[self.num_generated + num_drafted]

    def fed(self, count: int) -> list[int]:
        """Return the next `count` tokens to compute: known ones, then drafted ones."""
        known = self.tokens[self.num_computed : self.num_computed + count]
        return known if len(known) == count else [*known, *self.draft[: count - len(known)]]

    def accept(self, sampled: Items[int | Sampled], now: float) -> None:
        """Append what a step has sampled, as far as the step's draft was right.

        A token that was sampled after drafted ones counts only if sampling chose each of these, too. A token that ends
        the sequence, or that known tokens must follow, makes all further ones void.

        Args:
            sampled: The tokens sampled after the last known token and after each drafted token.
            now: `time.monotonic()` seconds.
        """
        if self.latest_token_at is not None:
            self.token_gaps.append(now - self.latest_token_at)
        self.latest_token_at = now
        draft, self.draft = self.draft, ()
        before = self.num_generated if self.first_token_at is not None else 0
        self.num_computed -= len(draft)
        self.num_right = 0
        for place, each in enumerate(sampled):
            token_id = each if isinstance(each, int) else self._scored(each)
            self.append(token_id, now, None if isinstance(each, int) else each.logprobs)
            right = place < len(draft) and draft[place] == token_id
            if not right or self.finish_reason is not None or self.num_pending > 1:
                break
            self.num_computed += 1
            self.num_right += 1
        self.num_new = self.num_generated - before
        if draft:
            self.guesses.learn(len(self.tokens), len(draft), self.num_right)

    def end_with_prompt(self, pooled: bytes, now: float) -> None:
        """End a sequence that pools. It has no new token.

        Args:
            pooled: What the step has read off the hidden state of the prompt's last token.
            now: `time.monotonic()` seconds.
        """
        self.pooled = pooled
        self.num_new = 0
        self.first_token_at = now
        self.finish_reason = FinishReason.STOP

    def append(self, token_id: int, now: float, logprobs: TokenLogprobs | None = None) -> None:
        """Append a newly sampled token and the known tokens that must follow. Sets `finish_reason` at the last one.

        Args:
            token_id: The sampled token.
            now: `time.monotonic()` seconds.
            logprobs: The log-probabilities at its place, if the request asks for them.
        """
        self._add(token_id, logprobs)
        if self.first_token_at is None:
            self.first_token_at = now
        self.finish_reason = self.stop_checker.check(token_id, self.num_generated)
        if self.finish_reason is None:
            self.extend_known(self.stop_checker.take_known_ids(self.num_generated))

    def announce_new(self) -> None:
        """Pass the tokens that the latest sampling step appended to the request's listener, if it has one."""
        request, first = self.ticket.request, len(self.tokens) - self.num_new
        if request.on_logprobs is not None:
            found = self.logprobs[len(self.logprobs) - self.num_new :]
            for token_id, logprobs in zip(self.tokens[first:], found, strict=True):
                request.on_logprobs(token_id, logprobs)
        elif request.on_token is not None:
            for token_id in self.tokens[first:]:
                request.on_token(token_id)

    def extend_known(self, token_ids: Items[int]) -> None:
        """Append tokens that nothing has to choose, up to the one that ends the sequence.

        Decode steps feed these tokens and sample nothing, as in the replay after a pre-emption.
        """
        for token_id in token_ids:
            self._add(token_id, None)
            self.finish_reason = self.stop_checker.check(token_id, self.num_generated)
            if self.finish_reason is not None:
                return

    def _scored(self, sampled: Sampled) -> int:
        """Return the next token: that of the choice if a choice is scored. Its score is kept."""
        token_id, logprobs = sampled
        ids = self.scored_ids(0)
        self.scores += [TokenScore(value, each == token_id) for each, value in zip(ids, logprobs.scored, strict=True)]
        return ids[0] if ids else token_id

    def _add(self, token_id: int, logprobs: TokenLogprobs | None) -> None:
        self.tokens.append(token_id)
        if self.ticket.request.logprobs is not None:
            self.logprobs.append(logprobs)
