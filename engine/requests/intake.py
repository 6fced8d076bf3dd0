"""Checking requests and turning them into sequences, on the submitting thread."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from collections.abc import Sequence as Items
from itertools import chain

from engine.request import Request, RequestInvalid, RequestTooLong, Ticket
from engine.requests.ports import Detokenizer
from engine.scheduling.fair_queue import FairQueue
from engine.scheduling.policy import priority
from engine.scheduling.sequence import Sequence
from engine.stopping.stop_checker import StopChecker
from engine.stopping.stop_strings import StopStringFinder
from engine.stopping.thought import AnswerStream, Thought


class Intake:
    """Refuses requests that cannot run and makes sequences of the others. Thread-safe.

    Args:
        detokenizer: Makes the text in which stop strings are found. A prompt's ids must be below its `vocab_size`.
        eos_token_ids: Tokens that end a completion.
        max_len: Maximum tokens of prompt and completion together.
    """

    def __init__(self, detokenizer: Detokenizer, eos_token_ids: Iterable[int], max_len: int) -> None:
        self._detokenizer = detokenizer
        self._eos_token_ids = frozenset(eos_token_ids)
        self._max_len = max_len
        self._fair_queue = FairQueue()
        self._numbers = itertools.count()

    def refusal(self, request: Request) -> ValueError | None:
        """Return `RequestTooLong` or `RequestInvalid` if this request cannot run, else None."""
        length, vocab_size = len(request.token_ids), self._detokenizer.vocab_size
        if not length:
            return RequestInvalid("The prompt has no tokens; it must have at least one.")
        num_scored = len(request.scoring.ids) if request.scoring is not None else 1
        if request.pooling is not None and length > self._max_len:
            return RequestTooLong(f"The prompt has {length:,} tokens; it may have {self._max_len:,}.")
        if request.pooling is None and length + num_scored > self._max_len:
            return RequestTooLong(
                f"The prompt has {length:,} tokens; prompt and completion together may have {self._max_len:,}."
            )
        named = [token_id for token_id, _ in request.params.logit_bias]
        for name, ids in (
            ("The prompt", request.token_ids),
            ("`logit_bias`", named),
            ("`allowed_token_ids`", request.params.allowed_token_ids),
            ("A choice", tuple(chain.from_iterable(request.scoring.ids)) if request.scoring is not None else ()),
        ):
            if ids and (min(ids) < 0 or max(ids) >= vocab_size):
                wrong = min(ids) if min(ids) < 0 else max(ids)
                return RequestInvalid(f"{name} has the token id {wrong}; ids are from 0 to {vocab_size - 1:,}.")
        return None

    def sequences(self, tickets: Items[Ticket], turn_now: int) -> list[Sequence]:
        """Return the sequences of requests that were submitted together and that can run.

        Args:
            tickets: The requests' tickets.
            turn_now: The turn that is being served.
        """
        arrived = [self._sequence(ticket) for ticket in tickets]
        by_flow: dict[str, list[Sequence]] = {}
        for sequence in sorted(arrived, key=lambda sequence: sequence.priority):
            if sequence.urgent:
                continue  # it takes no turn
            by_flow.setdefault(sequence.ticket.request.flow, []).append(sequence)
        for flow, ordered in by_flow.items():
            for sequence, turn in zip(ordered, self._fair_queue.take(flow, len(ordered), turn_now), strict=True):
                sequence.priority = (True, turn, *sequence.priority[2:])
        return arrived

    def _sequence(self, ticket: Ticket) -> Sequence:
        params = ticket.request.params
        room = self._max_len - len(ticket.request.token_ids)
        max_new_tokens = 1 if ticket.request.pooling is not None else min(params.max_tokens, room)
        return Sequence(
            ticket=ticket,
            stop_checker=self._stop_checker(ticket.request, max_new_tokens),
            priority=priority(0, next(self._numbers), params, max_new_tokens, urgent=ticket.request.urgent),
        )

    def _stop_checker(self, request: Request, max_new_tokens: int) -> StopChecker:
        params, thought, finder = request.params, None, None
        if request.thinking is not None:
            thought = Thought(request.thinking, params.thinking_token_budget, self._detokenizer.stream())
        if params.stop:
            stream = self._detokenizer.stream(params.skip_special_tokens)
            text = AnswerStream(stream, thought) if thought else stream
            finder = StopStringFinder(params.stop, text, params.include_stop_str_in_output)
        return StopChecker(params, self._eos_token_ids, max_new_tokens, finder, thought, request.grammar)
