"""The engine takes requests from any thread and returns their completions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from engine.request import ConstraintFailed, EngineDead, GroupStats, Request, Ticket, Utilization
from engine.requests import delivery
from engine.requests.delivery import Delivery
from engine.requests.group_meter import GroupMeter
from engine.requests.inbox import Inbox, Mail
from engine.requests.intake import Intake
from engine.requests.ports import Detokenizer, Runner
from engine.scheduling.batch import Batch
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.sequence import Sequence


class Engine:
    """Runs requests through one model by continuous batching. Every public method is thread-safe.

    The engine thread repeats three calls per step: schedule, run, advance. It sleeps while it has no requests.

    Args:
        scheduler: Decides each step. From now on the engine thread owns it.
        runner: Computes each step.
        detokenizer: Turns ids into text. A prompt's ids must be below its `vocab_size`.
        eos_token_ids: Tokens that end a completion.
        max_model_len: Maximum tokens of prompt and completion together.
        on_death: Called with the error that ended the engine thread, on that thread, after every ticket has failed.
            It must not call `shutdown`.
    """

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        runner: Runner,
        detokenizer: Detokenizer,
        eos_token_ids: Iterable[int],
        max_model_len: int,
        on_death: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        self._scheduler = scheduler
        self._runner = runner
        cache_len = scheduler.page_allocator.num_usable * scheduler.page_allocator.page_size
        self._intake = Intake(detokenizer, eos_token_ids, min(max_model_len, cache_len))
        self._on_death = on_death
        self._inbox = Inbox()
        self._delivery = Delivery(detokenizer)
        self._meter = GroupMeter()
        self._live: dict[Ticket, Sequence] = {}  # only the engine thread uses it
        self._death: BaseException | None = None
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)

    def start(self) -> None:
        """Start the engine thread. Requests may be submitted before that."""
        self._thread.start()

    def shutdown(self) -> None:
        """Stop after the current step. Unfinished requests are cancelled; finished ones are delivered first."""
        self._inbox.close()
        if self._thread.ident is None:
            self._end()
        else:
            self._thread.join()
        self._delivery.close()

    def submit(self, request: Request) -> Ticket:
        """Queue one request. Errors arrive through the ticket's future (see `Ticket`); the call itself raises none."""
        return self.submit_many((request,))[0]

    def submit_many(self, requests: Iterable[Request]) -> list[Ticket]:
        """Queue requests that belong together.

        Requests whose length is known may start in another order, the longest first (`engine.scheduling.policy`).
        Flows share the engine fairly, no matter how many requests each has waiting (`engine.scheduling.fair_queue`).
        """
        tickets, accepted = [], []
        for request in requests:
            ticket = Ticket(request)
            tickets.append(ticket)
            refusal = self._intake.refusal(request)
            if refusal is None:
                accepted.append(ticket)
            else:
                delivery.fail(ticket, refusal)
        sequences = self._intake.sequences(accepted, self._scheduler.turn)
        if not self._inbox.put(sequences):
            for sequence in sequences:
                self._give_up(sequence.ticket)
        return tickets

    def abort(self, ticket: Ticket) -> None:
        """Cancel a request at the next step and free its pages. A finished request does not change."""
        self._inbox.abort((ticket,))

    def abort_many(self, tickets: Iterable[Ticket]) -> None:
        """Cancel several requests at the next step, as `abort` does."""
        self._inbox.abort(tickets)

    def utilization(self) -> Utilization:
        """Return how busy the engine is now."""
        return Utilization(
            running=self._scheduler.num_running,
            waiting=self._scheduler.num_waiting + self._inbox.num_new,
            kv_cache_usage=self._scheduler.page_allocator.usage,
            output_tokens=self._meter.output_tokens,
            prompt_tokens=self._meter.prompt_tokens,
            cached_tokens=self._meter.cached_tokens,
            drafted_tokens=self._meter.drafted_tokens,
            accepted_tokens=self._meter.accepted_tokens,
            held_back=self._scheduler.num_held_back,
            preemptions=self._scheduler.num_preemptions,
            growth=self._scheduler.admission.pages_to_come / self._scheduler.page_allocator.num_usable,
        )

    def take_group_stats(self, group: str) -> GroupStats:
        """Return what the group's requests have used since the last call for this group."""
        return self._meter.take(group)

    # --- on the engine thread ----------------------------------------------------------------------------------

    def _loop(self) -> None:
        try:
            while (mail := self._inbox.take(wait=not self._live)) is not None:
                self._receive(mail)
                self._step()
        except BaseException as error:  # noqa: BLE001 - every caller must learn of any error that ends this thread
            self._death = error
            self._inbox.close()
        self._end()
        if self._death is not None:
            self._on_death(self._death)

    def _receive(self, mail: Mail) -> None:
        self._live.update((sequence.ticket, sequence) for sequence in mail.new)
        for sequence in mail.new:
            self._scheduler.add(sequence)
        for ticket in mail.aborted:
            if ticket in self._live:
                self._scheduler.abort(self._live[ticket])
                del self._live[ticket]
                delivery.cancel(ticket)

    def _step(self) -> None:
        started_at = time.monotonic()
        batch = self._scheduler.schedule()
        if batch is None:
            if self._live:
                raise RuntimeError("sequences wait and none can run")
            return
        utilization = self.utilization()
        finished = self._scheduler.advance(batch, self._runner.run(batch))
        finished_at = time.monotonic()
        self._meter.add(batch, finished_at - started_at, utilization)
        self._announce(batch)
        self._fail_constraints(batch)
        for sequence in finished:
            if self._live.pop(sequence.ticket, None) is not None:
                self._delivery.deliver(sequence, finished_at)

    def _announce(self, batch: Batch) -> None:
        """Pass new tokens to the requests with a listener. A listener that raises ends only its own request."""
        for index in dict.fromkeys(batch.sampling):
            sequence = batch.sequences[index]
            try:
                sequence.announce_new()
            except Exception as error:  # noqa: BLE001 - the caller's code, the caller's error
                self._live.pop(sequence.ticket)
                if sequence.finish_reason is None:
                    self._scheduler.abort(sequence)
                delivery.fail(sequence.ticket, error)

    def _fail_constraints(self, batch: Batch) -> None:
        """End the requests whose grammar was too complex in this step. Each of them fails alone."""
        for row, constraint in batch.constrained_rows:
            sequence = batch.sequences[batch.sampling[row]]
            if constraint.fault is None or self._live.pop(sequence.ticket, None) is None:
                continue
            if sequence.finish_reason is None:
                self._scheduler.abort(sequence)
            delivery.fail(sequence.ticket, ConstraintFailed(f"The completion left its grammar: {constraint.fault}."))

    def _end(self) -> None:
        """Cancel or fail every open ticket, so that no caller waits for a stopped engine."""
        unfinished = [*self._live, *(sequence.ticket for sequence in self._inbox.drain().new)]
        if self._death is None:  # after a failed step the scheduler's state may be inconsistent
            for sequence in self._live.values():
                self._scheduler.abort(sequence)
        self._live.clear()
        for ticket in unfinished:
            self._give_up(ticket)

    def _give_up(self, ticket: Ticket) -> None:
        if self._death is None:
            delivery.cancel(ticket)
            return
        error = EngineDead(f"The engine has stopped: {type(self._death).__name__}: {self._death}")
        error.__cause__ = self._death
        delivery.fail(ticket, error)
