"""Celery's worker program without its console output, and with other signal handlers."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from types import FrameType

from celery import Celery
from celery.apps.worker import Worker
from celery.worker import state

from worker.process_exit import exit_at_next_signal


class CeleryWorker(Worker):  # type: ignore[misc] # Celery has no types
    """Consumes messages until SIGTERM or SIGINT. Both begin an orderly stop with exit code 0.

    A second signal ends the process at once. Celery's own handlers write to stdout and treat the two signals
    differently.

    Args:
        app: Application with its queue, its pool and its task.
        on_stop: Called inside the signal handler, so it must not block.
    """

    def __init__(self, app: Celery, on_stop: Callable[[], None]) -> None:
        self._on_stop = on_stop
        super().__init__(
            app=app,
            hostname=f"qwen-batch-{os.getpid()}@{socket.gethostname()}",  # Flower needs unique names on a host
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )

    def install_platform_tweaks(self, worker: Worker) -> None:  # noqa: ARG002 - Celery's signature
        """Install the signal handlers. Celery calls this when it starts."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        exit_at_next_signal()
        self._on_stop()
        state.should_stop = 0  # Celery's main loop then ends with this exit code
