"""The engine: many requests in, completions out, from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Items

from engine.request import EngineDead, EngineLoad, GroupStats, Request, Ticket
from engine.requests import delivery
from engine.requests.delivery import Delivery
from engine.requests.detokenizer import Detokenizer
from engine.requests.group_meter import GroupMeter
from engine.requests.inbox import Inbox, Mail
from engine.requests.intake import Intake
from engine.requests.runner import Runner
from engine.scheduling.batch import Batch
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.sequence import Sequence


class Engine:
    """Runs requests through one model by continuous batching. Every public method is thread-safe.

    One thread does the work, step after step: schedule, run, advance. It sleeps while there is nothing to do.

    Args:
        scheduler: Decides each step; belongs to the engine thread from now on.
        runner: Computes each step.
        detokenizer: Turns ids into text; its `vocab_size` bounds a prompt's ids.
        eos_token_ids: Tokens that end a completion.
        max_model_len: Tokens of prompt and completion together.
        on_death: Called on the engine thread with what ended it, after every ticket has failed.
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
        cache_len = scheduler.block_manager.num_usable * scheduler.block_manager.page_size
        self._intake = Intake(detokenizer, eos_token_ids, min(max_model_len, cache_len))
        self._on_death = on_death
        self._inbox = Inbox()
        self._delivery = Delivery(detokenizer)
        self._meter = GroupMeter()
        self._live: dict[Ticket, Sequence] = {}  # the engine thread's own
        self._death: BaseException | None = None
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to work; requests may have been submitted before."""
        self._thread.start()

    def shutdown(self) -> None:
        """Stop after the current step. What is unfinished is cancelled; what is finished is delivered first."""
        self._inbox.close()
        if self._thread.ident is None:
            self._end()
        else:
            self._thread.join()
        self._delivery.close()

    def submit(self, request: Request) -> Ticket:
        """Take one request. Nothing is raised for it here: see `Ticket` for what its future may raise."""
        return self.submit_many((request,))[0]

    def submit_many(self, requests: Iterable[Request]) -> list[Ticket]:
        """Take requests that belong together. Requests known to be long may go first (`engine.scheduling.policy`).

        Requests of different flows share the engine, however many wait of each (`engine.scheduling.fair_turns`).
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
        """Cancel a request at the next step and free its pages. One that has ended stays as it is."""
        self._inbox.abort((ticket,))

    def abort_many(self, tickets: Iterable[Ticket]) -> None:
        """The same for several at once."""
        self._inbox.abort(tickets)

    def load(self) -> EngineLoad:
        """How busy the engine is."""
        return EngineLoad(
            running=self._scheduler.num_running,
            waiting=self._scheduler.num_waiting + self._inbox.num_new,
            kv_cache_usage=self._scheduler.block_manager.usage,
            output_tokens=self._meter.output_tokens,
            held_back=self._scheduler.num_held_back,
        )

    def take_group_stats(self, group: str) -> GroupStats:
        """What the group's requests have used since this was last called for it."""
        return self._meter.take(group)

    # --- on the engine thread ----------------------------------------------------------------------------------

    def _loop(self) -> None:
        try:
            while (mail := self._inbox.take(wait=not self._live)) is not None:
                self._receive(mail)
                self._step()
        except BaseException as error:  # noqa: BLE001 - whatever ends this thread, every caller must hear of it
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
        load = self.load()
        token_ids = self._runner.run(batch)
        finished = self._scheduler.advance(batch, token_ids)
        finished_at = time.monotonic()
        self._meter.add(batch, finished_at - started_at, load)
        self._announce(batch, token_ids)
        for sequence in finished:
            if self._live.pop(sequence.ticket, None) is not None:
                self._delivery.deliver(sequence, finished_at)

    def _announce(self, batch: Batch, token_ids: Items[int]) -> None:
        """Pass new tokens to the requests that listen. A listener that raises ends its own request alone."""
        for index, token_id in zip(batch.sampling, token_ids, strict=True):
            sequence = batch.sequences[index]
            listener = sequence.ticket.request.on_token
            if listener is None:
                continue
            try:
                listener(token_id)
            except Exception as error:  # noqa: BLE001 - the caller's code, the caller's error
                self._live.pop(sequence.ticket)
                if sequence.finish_reason is None:
                    self._scheduler.abort(sequence)
                delivery.fail(sequence.ticket, error)

    def _end(self) -> None:
        """Let no ticket wait for an engine that has stopped."""
        unfinished = [*self._live, *(sequence.ticket for sequence in self._inbox.drain().new)]
        if self._death is None:  # a scheduler whose step failed is not to be trusted with more
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
