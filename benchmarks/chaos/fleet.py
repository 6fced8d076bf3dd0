"""Workers that are started, killed, stopped and frozen."""

from __future__ import annotations

import random
import signal
import threading
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from testing.processes.cluster import Cluster
from testing.processes.worker_under_test import WorkerUnderTest

MAX_WORKERS = 3  # at a time
# 1: an orderly stop took too long, because the server did not answer. 4: the server was down at the start.
GOOD_EXITS = (0, 1, 4, -signal.SIGKILL)


class ChaosFleet:
    """The live workers, and a record of how the others ended. The end of the context kills all workers."""

    def __init__(self, cluster: Cluster, luck: random.Random) -> None:
        self._cluster = cluster
        self._luck = luck
        self._running = ExitStack()
        self._living: list[WorkerUnderTest] = []
        self._ended: list[WorkerUnderTest] = []
        self._asked: list[WorkerUnderTest] = []  # to end
        self._timers: list[threading.Timer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.thaw()
        self._running.close()

    def start(self) -> str:
        """Start one more worker, unless enough are alive."""
        self._bury()
        if len(self._living) >= MAX_WORKERS:
            return "nothing"
        self._living.append(self._running.enter_context(self._cluster.worker()))
        return "started"

    def kill(self) -> str:
        """Kill one worker, as a power cut would."""
        worker = self._any()
        if worker is None:
            return self.start()
        worker.kill()
        return "killed"

    def stop(self) -> str:
        """Ask one worker to stop.

        It has two seconds. A worker is asked only once, because a second signal ends it at once.
        """
        self._bury()
        unasked = [worker for worker in self._living if worker not in self._asked]
        if not unasked:
            return self.start()
        worker = self._luck.choice(unasked)
        worker.send(signal.SIGTERM)
        self._asked.append(worker)
        return "stopped"

    def freeze(self) -> str:
        """Freeze one worker, for less or for more than a lease's time to live."""
        worker = self._any()
        if worker is None:
            return self.start()
        worker.send(signal.SIGSTOP)
        timer = threading.Timer(self._luck.uniform(1.0, 8.0), worker.send, [signal.SIGCONT])
        timer.daemon = True
        timer.start()
        self._timers.append(timer)
        return "frozen"

    def thaw(self) -> None:
        """Let all frozen workers continue."""
        for timer in self._timers:
            timer.cancel()
        for worker in [*self._living, *self._ended]:
            worker.send(signal.SIGCONT)

    def at_least(self, number: int) -> None:
        """Thaw all workers, and start workers until at least `number` are alive."""
        self.thaw()
        self._bury()
        while len(self._living) < number:
            self.start()

    def problems(self) -> list[str]:
        """Return the workers' faults: wrong exit codes and logged tracebacks."""
        self._bury()
        bad = [
            f"a worker ended with {_code(worker)}: {worker.log[-2000:]}"
            for worker in self._ended
            if not _is_good(worker)
        ]
        for worker in [*self._living, *self._ended]:
            if "Traceback" in worker.log:
                bad.append(f"a worker logged a traceback: {worker.log[-4000:]}")
        return bad

    def _any(self) -> WorkerUnderTest | None:
        self._bury()
        return self._luck.choice(self._living) if self._living else None

    def _bury(self) -> None:
        for worker in [worker for worker in self._living if worker.has_ended]:
            self._living.remove(worker)
            self._ended.append(worker)


def _code(worker: WorkerUnderTest) -> int:
    return worker.exit_code(timeout_seconds=1)


def _is_good(worker: WorkerUnderTest) -> bool:
    too_young = _code(worker) == -signal.SIGTERM and "ready" not in worker.log  # for handlers, and for anything to lose
    return _code(worker) in GOOD_EXITS or too_young
