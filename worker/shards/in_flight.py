"""The lines of one shard in the engine. Finished lines and interruptions arrive in one inbox."""

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
    """Reason why a shard stops before all its lines are done."""

    CANCELLED = "cancelled"  # the job ends early
    PAUSED = "paused"  # the job is paused
    LOST = "lost"  # the lease has ended
    STOPPING = "stopping"  # this worker stops


@dataclass(frozen=True, eq=False)
class Line:
    """One line and its request in the engine."""

    prompt: Prompt
    ticket: Ticket


class InFlight:
    """The lines of one shard. One thread submits and collects them; other threads wake it through the inbox.

    Args:
        engine: Engine that runs the lines.
    """

    def __init__(self, engine: InferenceEngine) -> None:
        self._engine = engine
        self._inbox: queue.SimpleQueue[Line | Interruption] = queue.SimpleQueue()
        self._running: set[Line] = set()
        self._interruption: Interruption | None = None

    @property
    def interruption(self) -> Interruption | None:
        """The first interruption that `collect` has received."""
        return self._interruption

    def __len__(self) -> int:
        """Number of lines that are not collected yet."""
        return len(self._running)

    def submit(self, runnable: Sequence[tuple[Prompt, Request]]) -> None:
        """Submit lines to the engine."""
        tickets = self._engine.submit_many([request for _, request in runnable])
        for (prompt, _), ticket in zip(runnable, tickets, strict=True):
            line = Line(prompt, ticket)
            self._running.add(line)
            ticket.future.add_done_callback(lambda _, line=line: self._inbox.put(line))  # type: ignore[misc]

    def interrupt(self, why: Interruption) -> None:
        """Tell the collecting thread to stop its work on the shard. Safe in any thread and in a signal handler."""
        self._inbox.put(why)

    def collect(self, timeout_seconds: float | None) -> list[Line]:
        """Wait up to `timeout_seconds` (None: no limit) for a finished line or an interruption.

        Returns the finished lines. Their tickets are fulfilled.
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
        """Abort the remaining lines, and wait up to `timeout_seconds` until the engine has dropped them.

        Returns the lines whose tickets are fulfilled by then. Some of them may have finished before the abort.
        """
        self._engine.abort_many([line.ticket for line in self._running])
        deadline = time.monotonic() + timeout_seconds
        done: list[Line] = []
        while self._running and (left := deadline - time.monotonic()) > 0:
            done.extend(self.collect(left))
        self._running.clear()
        return done
