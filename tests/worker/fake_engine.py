"""An engine that the tests hold in their hands: it finishes what they say, when they say it."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable

from engine.request import EngineDead, GroupStats, Request, RequestOutput, Ticket, Utilization
from jobs.records.sampling import FinishReason


class FakeEngine:
    """Answers a prompt with its own tokens in reverse, as many as `max_tokens` allows; at once, unless told to hold."""

    def __init__(self) -> None:
        self._held = False
        self._lock = threading.Condition()
        self._waiting: deque[Ticket] = deque()
        self._group_tokens: Counter[str] = Counter()
        self._output_tokens = 0
        self.held_back = 0  # sequences that wait only for pages, as `utilization` reports
        self.submitted: list[Request] = []
        self.aborted: list[Request] = []
        self.failures: dict[tuple[int, ...], Exception] = {}  # prompts whose ticket fails, and how

    def submit_many(self, requests: Iterable[Request]) -> list[Ticket]:
        tickets = [Ticket(request) for request in requests]
        with self._lock:
            self.submitted.extend(ticket.request for ticket in tickets)
            self._waiting.extend(tickets)
            self._lock.notify_all()
        if not self._held:
            self.finish()
        return tickets

    def hold(self) -> None:
        """Finish nothing until `finish` is called."""
        self._held = True

    def finish(self, count: int | None = None) -> None:
        """Fulfil the oldest tickets, all of them by default."""
        with self._lock:
            many = len(self._waiting) if count is None else min(count, len(self._waiting))
            tickets = [self._waiting.popleft() for _ in range(many)]
        for ticket in tickets:
            self._fulfil(ticket)

    def finish_from_now_on(self) -> None:
        """Hold nothing back any longer."""
        self._held = False
        self.finish()

    def die(self) -> None:
        """Fail every ticket as an engine does whose thread has ended."""
        with self._lock:
            tickets, self._waiting = list(self._waiting), deque()
        for ticket in tickets:
            ticket.future.set_exception(EngineDead("out of memory"))

    def wait_for_submitted(self, count: int, timeout_seconds: float = 60) -> None:
        """Return once so many requests have come in all."""
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.submitted) >= count, timeout_seconds)

    def wait_for_aborted(self, count: int, timeout_seconds: float = 60) -> None:
        """Return once so many requests have been aborted in all."""
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.aborted) >= count, timeout_seconds)

    def abort_many(self, tickets: Iterable[Ticket]) -> None:
        for ticket in tickets:
            with self._lock:
                if ticket not in self._waiting:
                    continue
                self._waiting.remove(ticket)
                self.aborted.append(ticket.request)
                self._lock.notify_all()
            ticket.future.cancel()
            ticket.future.set_running_or_notify_cancel()

    def utilization(self) -> Utilization:
        usage = 0.5 if self._waiting else 0.0
        return Utilization(
            running=len(self._waiting),
            kv_cache_usage=usage,
            output_tokens=self._output_tokens,
            held_back=self.held_back,
            prompt_tokens=2 * self._output_tokens,
            cached_tokens=self._output_tokens // 2,
            drafted_tokens=3 * self._output_tokens,
            accepted_tokens=self._output_tokens,
        )

    def take_group_stats(self, group: str) -> GroupStats:
        tokens = self._group_tokens.pop(group, 0)
        return GroupStats(0.1, 0.2, tokens, 4 * tokens, 0.5, output_tokens=tokens)

    def shutdown(self) -> None:
        with self._lock:
            tickets = list(self._waiting)
        self.abort_many(tickets)

    def _fulfil(self, ticket: Ticket) -> None:
        request = ticket.request
        failure = self.failures.get(request.token_ids)
        if failure is not None:
            ticket.future.set_exception(failure)
            return
        answer = tuple(reversed(request.token_ids))[: request.params.max_tokens]
        for token_id in answer:
            if request.on_token is not None:
                request.on_token(token_id)
        self._group_tokens[request.group] += len(answer)
        self._output_tokens += len(answer)
        ticket.future.set_result(
            RequestOutput(
                token_ids=answer,
                text="".join(map(chr, answer)),
                finish_reason=FinishReason.STOP if len(answer) == len(request.token_ids) else FinishReason.LENGTH,
                num_prompt_tokens=len(request.token_ids),
                arrived_at=ticket.arrived_at,
                admitted_at=ticket.arrived_at + 0.004,
                first_token_at=ticket.arrived_at + 0.010,
                finished_at=ticket.arrived_at + 0.010 + 0.002 * (len(answer) - 1),
                token_gaps=(0.002,) * (len(answer) - 1),
            )
        )
