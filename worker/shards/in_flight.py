"""The lines of one shard that are in the engine, and everything that can happen to them, as one stream of events."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from engine.request import Request, Ticket
from jobs.records.prompt import Prompt
from worker.shards.inference_engine import InferenceEngine


class Interruption(StrEnum):
    """Why a shard is not run to its end."""

    CANCELLED = "cancelled"  # its job is to end early
    PAUSED = "paused"  # its job is paused
    LOST = "lost"  # its lease has ended
    STOPPING = "stopping"  # this worker ends


@dataclass(frozen=True, eq=False)
class Line:
    """One line and its request in the engine."""

    prompt: Prompt
    ticket: Ticket


class InFlight:
    """One thread submits and collects; the engine's thread and others wake it through an inbox.

    Args:
        engine: Where the lines run.
    """

    def __init__(self, engine: InferenceEngine) -> None:
        self._engine = engine
        self._inbox: queue.SimpleQueue[Line | Interruption] = queue.SimpleQueue()
        self._running: set[Line] = set()
        self._interruption: Interruption | None = None

    @property
    def interruption(self) -> Interruption | None:
        """The first interruption that `collect` has met."""
        return self._interruption

    def __len__(self) -> int:
        """Lines that have not been collected yet."""
        return len(self._running)

    def submit(self, runnable: Sequence[tuple[Prompt, Request]]) -> None:
        """Hand lines to the engine."""
        tickets = self._engine.submit_many([request for _, request in runnable])
        for (prompt, _), ticket in zip(runnable, tickets, strict=True):
            line = Line(prompt, ticket)
            self._running.add(line)
            ticket.future.add_done_callback(lambda _, line=line: self._inbox.put(line))  # type: ignore[misc]

    def interrupt(self, why: Interruption) -> None:
        """Wake the collecting thread: it should stop working on this shard. From any thread, also a signal handler."""
        self._inbox.put(why)

    def collect(self, timeout_seconds: float | None) -> list[Line]:
        """Wait for something to happen, at most so long (None: for ever); returns the lines that are done.

        Their tickets are fulfilled. Returns early when the shard is interrupted.
        """
        done: list[Line] = []
        try:
            event = self._inbox.get(timeout=timeout_seconds)
            while True:
                if isinstance(event, Line):
                    self._running.discard(event)
                    done.append(event)
                else:
                    self._interruption = self._interruption or event
                event = self._inbox.get_nowait()
        except queue.Empty:
            return done

    def abort(self, timeout_seconds: float) -> list[Line]:
        """Take what is left out of the engine and wait, at most so long, until it is out.

        Returns the lines whose tickets are fulfilled by then: aborted ones, and some that were finished already.
        """
        self._engine.abort_many([line.ticket for line in self._running])
        deadline = time.monotonic() + timeout_seconds
        done: list[Line] = []
        while self._running and (left := deadline - time.monotonic()) > 0:
            done.extend(self.collect(left))
        self._running.clear()
        return done
