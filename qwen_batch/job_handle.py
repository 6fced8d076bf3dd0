"""A handle of one job: look at it, wait for it, read its results, cancel it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Literal

from cli.console.console import Console
from cli.console.progress import watch_job
from jobs.records import job as records
from jobs.stats.stats import JobStats
from jobs.stores.protocol import JobStore
from qwen_batch.results import Result, ResultReader


class Job:
    """One job on a server. `qwen_batch.submit` and `qwen_batch.job` return it.

    The job runs on the server's workers. It goes on when this process ends, or when Ctrl-C interrupts a method.
    """

    def __init__(self, store: JobStore, job_id: str, check: Callable[[records.Job], None]) -> None:
        self.id = job_id
        self._store = store
        self._check = check  # called with the job while a method waits for it

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def status(self) -> JobStats:
        """Return the job's state, counts and speed, as `qwen-batch status --json` prints them.

        Raises:
            JobNotFound: The job was deleted.
            StoreUnavailable: The server cannot be reached.
        """
        return self._store.jobs.stats(self.id)

    def wait(self, timeout: float | None = None, *, progress: bool = True) -> JobStats:
        """Wait until the job ends, and return its status.

        Args:
            timeout: Maximum seconds to wait. None for no limit.
            progress: True to show a bar on a terminal, and a line now and then elsewhere.

        Raises:
            TimeoutError: The job has not ended in time. It goes on.
            QwenBatchError: The job was deleted, the server does not answer, or a worker of `local` cannot work.
        """
        ends_at = None if timeout is None else time.monotonic() + timeout

        def check(job: records.Job) -> None:
            self._check(job)
            if ends_at is not None and time.monotonic() >= ends_at and not job.state.ended:
                raise TimeoutError(f"Job {self.id} has not ended after {timeout:g} s. It goes on.")

        watch_job(self._store, self.id, Console(verbosity=0 if progress else -1), check=check)
        return self.status()

    def results(self, order: Literal["input", "finished"] = "input") -> Iterator[Result]:
        """Iterate over the results, and wait for those that are not there yet.

        Args:
            order: "input" for the order of the rows, "finished" for each result as it comes.

        Raises:
            ResultsMissing: The job has ended and lacks results. The iterator raises it after the last result.
            QwenBatchError: As for `wait`.
        """
        reader = ResultReader(self._store.jobs, self.id, self._check)
        if order not in ("input", "finished"):
            raise ValueError(f'order is {order!r}; it must be "input" or "finished"')
        return reader.in_order() if order == "input" else reader.as_they_finish()

    def cancel(self) -> None:
        """Ask for the end of the job. Finished rows keep their results; the others end with the error `cancelled`."""
        self._store.control.request_cancel(self.id)

    def delete(self) -> None:
        """Remove the job and its results from the server. Raises `JobConflict` unless the job has ended."""
        self._store.control.delete(self.id)
