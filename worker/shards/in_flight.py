"""The lines of one shard in the engine. Finished lines and interruptions arrive in one inbox."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from engine.request import Request, Ticket
from jobs.records.prompt import Prompt
from worker.shards.inference_engine import InferenceEngine


class Interruption(StrEnum):
    """Reason why a shard stops before all its lines are done."""

    CANCELLED = "cancelled"  # the job ends early
    PAUSED = "paused"  # the job is paused
    LOST = "lost"  # the lease has ended
    STOPPING = "stopping"  # this worker stops


@dataclass(eq=False)
class Line:
    """One line and its requests in the engine."""

    prompt: Prompt
    tickets: tuple[Ticket, ...]
    num_running: int  # requests whose tickets have not been collected yet


@dataclass(frozen=True)
class _Fulfilled:
    """A ticket of a line that has been fulfilled."""

    line: Line
    ticket: Ticket

    @property
    def failed(self) -> bool:
        """True if the ticket has no output."""
        future = self.ticket.future
        return future.cancelled() or future.exception() is not None


class InFlight:
    """The lines of one shard. One thread submits and collects them; other threads wake it through the inbox.

    Args:
        engine: Engine that runs the lines.
    """

    def __init__(self, engine: InferenceEngine) -> None:
        self._engine = engine
        self._inbox: queue.SimpleQueue[_Fulfilled | Interruption] = queue.SimpleQueue()
        self._running: set[Line] = set()
        self._interruption: Interruption | None = None

    @property
    def interruption(self) -> Interruption | None:
        """The first interruption that `collect` has received."""
        return self._interruption

    def __len__(self) -> int:
        """Number of lines that are not collected yet."""
        return len(self._running)

    def submit(self, runnable: Sequence[tuple[Prompt, tuple[Request, ...]]]) -> None:
        """Submit lines to the engine, each with its requests."""
        tickets = iter(self._engine.submit_many([request for _, requests in runnable for request in requests]))
        for prompt, requests in runnable:
            line = Line(prompt, tuple(islice(tickets, len(requests))), len(requests))
            self._running.add(line)
            for ticket in line.tickets:
                done = _Fulfilled(line, ticket)
                ticket.future.add_done_callback(lambda _, done=done: self._inbox.put(done))  # type: ignore[misc]

    def interrupt(self, why: Interruption) -> None:
        """Tell the collecting thread to stop its work on the shard. Safe in any thread and in a signal handler."""
        self._inbox.put(why)

    def collect(self, timeout_seconds: float | None) -> list[Line]:
        """Wait up to `timeout_seconds` (None: no limit) for a finished line or an interruption.

        Returns the finished lines. All their tickets are fulfilled. When a request of a line fails, the line's other
        requests are aborted.
        """
        done: list[Line] = []
        try:
            event = self._inbox.get(timeout=timeout_seconds)
            while True:
                if isinstance(event, _Fulfilled):
                    done.extend(self._note(event))
                else:
                    self._interruption = self._interruption or event
                event = self._inbox.get_nowait()
        except queue.Empty:
            return done

    def _note(self, fulfilled: _Fulfilled) -> list[Line]:
        """Count a fulfilled ticket. Returns its line if this was the line's last one."""
        line = fulfilled.line
        line.num_running -= 1
        if line.num_running:
            if fulfilled.failed:
                self._engine.abort_many(line.tickets)
            return []
        self._running.discard(line)
        return [line]

    def abort(self, timeout_seconds: float) -> list[Line]:
        """Abort the remaining lines, and wait up to `timeout_seconds` until the engine has dropped them.

        Returns the lines whose tickets are fulfilled by then. Some of them may have finished before the abort.
        """
        self._engine.abort_many([ticket for line in self._running for ticket in line.tickets])
        deadline = time.monotonic() + timeout_seconds
        done: list[Line] = []
        while self._running and (left := deadline - time.monotonic()) > 0:
            done.extend(self.collect(left))
        self._running.clear()
        return done
