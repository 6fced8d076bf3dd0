"""Watching a job until it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from cli.console.console import Console
from cli.console.displays import display_for
from cli.console.job_update import JobObserver
from jobs.errors import StoreUnavailable
from jobs.records.job import Job
from jobs.records.worker_report import WorkerReport
from jobs.stores.protocol import JobStore

POLL_SECONDS = 0.25
PATIENCE_SECONDS = 30.0  # a server that restarts is back by then


def nothing_to_check(_job: Job) -> None:
    """For watchers that depend on nothing but the store."""


def watch_job(
    store: JobStore,
    job_id: str,
    console: Console,
    *,
    as_json: bool = False,
    check: Callable[[Job], None] = nothing_to_check,
) -> Job:
    """Show a job's progress until it has ended; returns it as it then stands.

    Args:
        as_json: JSON lines on stdout instead of progress on stderr.
        check: Called after every look at the store; what it raises ends the watch.

    Raises:
        JobNotFound: There is no such job, or it was deleted meanwhile.
        StoreUnavailable: The store did not answer at first, or not for `PATIENCE_SECONDS` later.
    """
    observer, advised = JobObserver(), False
    with display_for(console, as_json) as display:
        read = _PatientReader(store, job_id, console, with_workers=display.shows_workers)
        while True:
            job, workers = read()
            check(job)
            update = observer.update(job, workers, time.monotonic())
            if update.cache_advice and not advised:
                console.say(update.cache_advice)
                advised = True
            display.show(update)
            if job.state.ended:
                return job
            time.sleep(POLL_SECONDS)


class _PatientReader:
    """Reads job and workers, and bridges a restart of the store: it repeats what it read last."""

    def __init__(self, store: JobStore, job_id: str, console: Console, *, with_workers: bool) -> None:
        self._store = store
        self._job_id = job_id
        self._console = console
        self._with_workers = with_workers  # two more round trips a look, for as long as a job takes
        self._last: tuple[Job, list[WorkerReport]] | None = None
        self._silent_since: float | None = None

    def __call__(self) -> tuple[Job, list[WorkerReport]]:
        try:
            found = self._store.job(self._job_id), self._store.workers() if self._with_workers else []
        except StoreUnavailable as error:
            return self._bridge(error)
        if self._silent_since is not None:
            self._console.say("The store answers again.")
            self._silent_since = None
        self._last = found
        return found

    def _bridge(self, error: StoreUnavailable) -> tuple[Job, list[WorkerReport]]:
        if self._last is None:
            raise error
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
            self._console.say(f"{error.message} Trying again for {PATIENCE_SECONDS:.0f} s.")
        if now - self._silent_since > PATIENCE_SECONDS:
            raise error
        return self._last
