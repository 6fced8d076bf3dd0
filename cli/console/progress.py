"""Watch a job until it has ended, and report how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from cli.console.console import Console
from cli.console.displays import display_for
from cli.console.job_update import JobObserver
from cli.console.summary import summary_of
from jobs.errors import StoreUnavailable
from jobs.exit_codes import ExitCode, code_of_job
from jobs.records.job import Job, JobState
from jobs.records.worker_report import WorkerReport
from jobs.stores.client_facets import JobReader
from jobs.stores.protocol import JobStore

POLL_SECONDS = 0.25
PATIENCE_SECONDS = 30.0  # long enough for a server to restart


def nothing_to_check(_job: Job) -> None:
    """Accept every job, and know of nothing that it waits for: the default of `watch_job`'s `check`."""


def watch_job(
    store: JobStore,
    job_id: str,
    console: Console,
    *,
    as_json: bool = False,
    check: Callable[[Job], str | None] = nothing_to_check,
    poll_seconds: float = POLL_SECONDS,
) -> Job:
    """Show a job's progress until the job ends, and return the ended job.

    Args:
        as_json: Print JSON lines to stdout instead of progress to stderr.
        check: Called with the job after every read. Returns what the job waits for, if it knows that, such as "free
            space". An exception from it ends the watch.
        poll_seconds: Pause between two reads.

    Raises:
        JobNotFound: The job does not exist, or it was deleted during the watch.
        StoreUnavailable: The store did not answer the first read, or later for `PATIENCE_SECONDS`.
    """
    observer, advised_bytes = JobObserver(), 0
    with display_for(console, as_json) as display:
        read = _PatientReader(store, job_id, console, with_workers=display.shows_workers)
        while True:
            job, workers = read()
            waits_for = check(job)
            update = observer.update(job, workers, time.monotonic(), waits_for)
            if (room := update.cache_room) is not None and room.wanted_bytes >= max(2 * advised_bytes, 1):
                console.say(room.advice)  # again if the sequences have grown far beyond the cache that was advised
                advised_bytes = room.wanted_bytes
            display.show(update)
            if job.state.ended:
                return job
            time.sleep(poll_seconds)


def watch_to_the_end(store: JobStore, job_id: str, console: Console, *, as_json: bool = False) -> ExitCode:
    """Watch a job until it ends, then report how it ended. Ctrl-C ends only the watching."""
    try:
        job = watch_job(store, job_id, console, as_json=as_json)
    except KeyboardInterrupt:
        console.say(f"The job continues. Watch it with `qwen-batch watch {job_id}`.")
        console.say(f"End it with `qwen-batch cancel {job_id}`.")
        return ExitCode.INTERRUPTED
    if not as_json:
        report_end(store.jobs, job, console)
    return code_of_job(job)


def report_end(reader: JobReader, job: Job, console: Console) -> None:
    """Print the summary of an ended job. Warns if the job failed or has failed lines."""
    console.say_table(summary_of(reader.stats(job.id)))
    if job.state is not JobState.COMPLETED:
        reason = f": {job.error}" if job.error else ""
        console.warn(f"The job is {job.state.value}{reason}. It has {job.completed:,} completed lines.")
    elif job.failed:
        console.warn(f"{job.failed:,} of {job.spec.num_lines:,} lines failed; their results say why.")


class _PatientReader:
    """Reads the job and its workers. While the store restarts, it returns the last values."""

    def __init__(self, store: JobStore, job_id: str, console: Console, *, with_workers: bool) -> None:
        self._store = store
        self._job_id = job_id
        self._console = console
        self._with_workers = with_workers  # costs two more round trips per read
        self._last: tuple[Job, list[WorkerReport]] | None = None
        self._silent_since: float | None = None

    def __call__(self) -> tuple[Job, list[WorkerReport]]:
        try:
            found = self._store.jobs.get(self._job_id), self._store.fleet.workers() if self._with_workers else []
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
