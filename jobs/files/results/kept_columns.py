"""Find the columns of a job's lines, to bring them back beside the results."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from jobs.errors import JobNotFound
from jobs.records.job import Job, ShardRef
from jobs.records.prompt import NO_COLUMNS
from jobs.stores.protocol import JobStore


class KeptColumns:
    """Reads the columns of a job's lines, one shard at a time. Call `of` with rising indexes.

    Args:
        store: Store of the job.
        job: The job.
    """

    def __init__(self, store: JobStore, job: Job) -> None:
        self._store = store
        self._job = job
        self._columns: dict[int, msgspec.Raw] = {}  # of the current shard: line index -> columns
        self._next_shard = 0
        self._last_line = -1  # highest index of a line that has been read

    def of(self, index: int) -> msgspec.Raw:
        """Return a line's columns as one JSON object. `NO_COLUMNS` if the line has none, or its input is lost."""
        while self._last_line < index and self._next_shard < self._job.spec.num_shards:
            self._read(ShardRef(self._job.id, self._next_shard))
            self._next_shard += 1
        return self._columns.get(index, NO_COLUMNS)

    def _read(self, shard: ShardRef) -> None:
        with suppress(JobNotFound), self._store.damage.skipping():
            self._columns = {prompt.index: prompt.columns for prompt, _ in self._store.jobs.lines(shard)}
            self._last_line = max(self._columns, default=self._last_line)
