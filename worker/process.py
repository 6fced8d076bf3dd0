"""The worker's process: Celery opens it once, passes hints to it on several threads, and stops it by a signal."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence

from engine.request import EngineDead
from jobs.exit_codes import ExitCode
from jobs.queue.hints import queue_name
from jobs.records.served_name import served_name
from jobs.settings import Settings
from worker.facts import new_worker_id
from worker.orderly_stop import OrderlyStop
from worker.queue.front_door import MalformedHint, shard_of_hint
from worker.queue.refusals import Refusals
from worker.running_worker import RunningWorker
from worker.shards.active_shards import ActiveShards
from worker.shards.shard_runner import Outcome
from worker.start import start_worker

log = logging.getLogger(__name__)


class WorkerProcess:
    """Owns all parts of the worker. There is one per process. Thread-safe after `open`.

    Args:
        settings: The user's settings. Nothing connects or loads before `open`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.model = settings.served_model_name or served_name(settings.model)
        self.worker_id = new_worker_id()
        self.stop = OrderlyStop(self._hand_over, self._drain if settings.drain else None)
        self._active = ActiveShards()
        self._worker: RunningWorker | None = None
        self.refusals = Refusals()
        self.wake_main_loop: Callable[[], object] = lambda: None  # makes Celery check whether it must stop

    @property
    def worker(self) -> RunningWorker:
        """The running worker. Only valid after `open`."""
        assert self._worker is not None, "not open"
        return self._worker

    def open(self) -> RunningWorker:
        """Load the model and start all threads. Raises every error of `start_worker`."""
        self._worker = start_worker(
            self.settings, self.model, self.worker_id, self._active, self.refusals, on_death=_die
        )
        self.stop.start()
        return self._worker

    def run_hint(self, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """Run shards until none is left. Ends the process if the engine has died.

        A message only says that there is work. Celery may take a second to pass the next message. Therefore this method
        looks for the next shard in the store.
        """
        try:
            shard = shard_of_hint(args, kwargs)
        except MalformedHint as error:
            self.refusals.add(str(error))
            return
        try:
            while self.worker.shard_runner.run(shard) is Outcome.FINISHED and not self._active.leaving:
                pass
        except EngineDead as error:
            _die(error)

    def log_ready(self) -> None:
        """Log one line with the worker's configuration, for the user who started it."""
        loaded, worker = self.worker.loaded, self.worker
        config = loaded.resolved
        log.info(
            "ready: model=%s queue=%s device=%s dtype=%s quantize=%s compiled=%s threads=%d max_num_seqs=%d "
            "max_model_len=%d cache_tokens=%d shards_at_a_time=%d load_seconds=%.1f compile_seconds=%.1f",
            self.model,
            queue_name(self.model),
            loaded.device,
            config.dtype,
            config.quantize,
            "yes" if loaded.compiled else "no",
            config.threads,
            config.policy.max_num_seqs,
            config.max_model_len,
            worker.cache_tokens,
            worker.num_threads,
            loaded.load_seconds,
            loaded.compile_seconds,
        )

    def close(self) -> None:
        """Wait until all shards are given back, then end the engine."""
        if self._worker is None:
            return
        self.stop.request()  # Celery may end without a signal
        self.stop.wait_until_handed_over()
        self._worker.close()
        self.stop.finished()

    def _drain(self) -> None:
        self._active.draining.set()
        self.wake_main_loop()
        self.worker.drain()

    def _hand_over(self) -> None:
        self.wake_main_loop()
        self.worker.hand_over()


def _die(error: BaseException) -> None:
    """End the process now. A device that failed cannot be trusted again, and a supervisor starts a new worker."""
    log.critical("the engine has died, the worker ends: %s", error, exc_info=error)
    logging.shutdown()
    os._exit(ExitCode.FAILED)
