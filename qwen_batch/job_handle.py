"""A handle of one job: look at it, wait for it, read its results, cancel it."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from cli.console.console import Console
from cli.console.progress import watch_job
from cli.options.result_target import ResultTarget
from jobs.errors import InvalidInput
from jobs.files.results.results_file import ResultCounts, ResultStyle
from jobs.records import job as records
from jobs.stats.stats import JobStats
from jobs.stores.protocol import JobStore
from qwen_batch.argument_names import in_words_of_python
from qwen_batch.results import Result, ResultReader
from qwen_batch.submission import ARGUMENTS


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
            progress: True to show a bar on a terminal or in a notebook, and a line now and then elsewhere.

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

        After the last result, the iterator warns if completions ended inside their thought (`Result.ended_in_thought`)
        or inside their structured output (`Result.cut_structured_output`).

        Args:
            order: "input" for the order of the rows, "finished" for each result as it comes.

        Raises:
            ResultsMissing: The job has ended and lacks results. The iterator raises it after the last result.
            QwenBatchError: As for `wait`.
        """
        reader = ResultReader(self._store.jobs, self.id, self._check)
        if order not in ("input", "finished"):
            raise ValueError(f'order is {order!r}; it must be "input" or "finished"')
        return _warned(reader.in_order() if order == "input" else reader.as_they_finish())

    def write(self, path: str | Path) -> None:
        """Write the results to a file or a URL, as `-o` of the commands does. The ending of its name tells the format.

        A warning says if completions ended inside their thought.

        Raises:
            ResultsMissing: The job has ended and lacks results.
            OutputNotWritable: The file cannot be written.
            InvalidInput: Its format cannot be written here.
        """
        _warn(self._write(path))

    def _write(self, path: str | Path) -> ResultCounts:
        target = ResultTarget.of_options(ResultStyle(), str(path), None)
        return target.write(self._store, self._store.jobs.get(self.id))

    def to_arrow(self) -> Any:  # noqa: ANN401 - pyarrow comes without types
        """Wait for the end of the job, and return its results as a `pyarrow.Table`: one row per row that was given.

        The columns are those of `qwen-batch results -o results.arrow`: the kept columns with their types, then the
        completion and its facts. The table needs `qwen-batch[tables]`. A warning says if completions ended inside their
        thought.
        """
        table, counts = self._table()
        _warn(counts)
        return table

    def _table(self) -> tuple[Any, ResultCounts]:
        self.wait(progress=False)
        with tempfile.TemporaryDirectory(prefix="qwen-batch-") as folder:
            path = Path(folder) / "results.arrow"
            counts = self._write(path)
            import pyarrow  # `write` has said so if it is not installed

            with pyarrow.memory_map(str(path)) as mapped:  # the table keeps the file's pages after its removal
                return pyarrow.ipc.open_file(mapped).read_all(), counts

    def to_pandas(self) -> Any:  # noqa: ANN401 - pandas comes without types
        """Wait for the end of the job, and return its results as a pandas `DataFrame` (`to_arrow`)."""
        if find_spec("pandas") is None:
            raise InvalidInput("pandas is not installed.", "Install it: pip install pandas")
        table, counts = self._table()
        _warn(counts)
        return table.to_pandas()

    def cancel(self) -> None:
        """Ask for the end of the job. Finished rows keep their results; the others end with the error `cancelled`."""
        self._store.control.request_cancel(self.id)

    def delete(self) -> None:
        """Remove the job and its results from the server. Raises `JobConflict` unless the job has ended."""
        self._store.control.delete(self.id)


def _warned(results: Iterator[Result]) -> Iterator[Result]:
    """Yield results. Warn after the last one."""
    ended_in_thought = cut = 0
    for result in results:
        ended_in_thought += result.ended_in_thought
        cut += result.cut_structured_output
        yield result
    _warn(ResultCounts(0, 0, ended_in_thought=ended_in_thought, cut_structured_outputs=cut))


def _warn(counts: ResultCounts) -> None:
    """Warn the caller of the function that calls this one."""
    for warning in counts.warnings():
        warnings.warn(in_words_of_python(warning, ARGUMENTS), stacklevel=3)
