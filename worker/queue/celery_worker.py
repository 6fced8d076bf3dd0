"""Celery's worker program, as quiet as a command of ours, and with our own idea of signals."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from types import FrameType

from celery import Celery
from celery.apps.worker import Worker
from celery.worker import state

from worker.signals import exit_at_next_signal


class CeleryWorker(Worker):  # type: ignore[misc] # Celery has no types
    """Consumes until SIGTERM or SIGINT, which both mean an orderly stop with exit code 0; a second one ends at once.

    Celery's own handlers write to stdout and tell the two signals apart.

    Args:
        app: With its queue, its pool and its task.
        on_stop: Called inside the signal handler: it must not block.
    """

    def __init__(self, app: Celery, on_stop: Callable[[], None]) -> None:
        self._on_stop = on_stop
        super().__init__(
            app=app,
            hostname=f"qwen-batch-{os.getpid()}@{socket.gethostname()}",  # several on a host must differ for Flower
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )

    def install_platform_tweaks(self, worker: Worker) -> None:  # noqa: ARG002 - Celery's signature
        """Called by Celery when it starts."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        exit_at_next_signal()
        self._on_stop()
        state.should_stop = 0  # an exit code, and Celery's sign for its main loop to end
