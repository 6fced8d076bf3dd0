"""Find what a job's lines said, to bring it back beside the results."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from jobs.errors import JobNotFound
from jobs.records.job import Job, ShardRef
from jobs.records.prompt import NO_COLUMNS, Prompt
from jobs.stores.protocol import JobStore


class LineInput(msgspec.Struct, frozen=True):
    """The parts of a line that come back in its result."""

    columns: msgspec.Raw = NO_COLUMNS  # the line's columns as one JSON object
    source: str | None = None  # the line's file, if the job was made of several files
    prompt: str | None = None  # the line's raw prompt; None for a conversation and for token ids


NO_INPUT = LineInput()


class KeptColumns:
    """Reads the columns, sources and prompts of a job's lines, one shard at a time. Call `of` with rising indexes.

    Args:
        store: Store of the job.
        job: The job.
    """

    def __init__(self, store: JobStore, job: Job) -> None:
        self._store = store
        self._job = job
        self._inputs: dict[int, LineInput] = {}  # line index -> input, for the lines of the current shard
        self._next_shard = 0
        self._last_line = -1  # highest index of a line that has been read

    def of(self, index: int) -> LineInput:
        """Return what a line said. `NO_INPUT` if the line's input is lost."""
        while self._last_line < index and self._next_shard < self._job.spec.num_shards:
            self._read(ShardRef(self._job.id, self._next_shard))
            self._next_shard += 1
        return self._inputs.get(index, NO_INPUT)

    def _read(self, shard: ShardRef) -> None:
        with suppress(JobNotFound), self._store.damage.skipping():
            lines = self._store.jobs.lines(shard)
            self._inputs = {prompt.index: _input_of(prompt) for prompt, _ in lines}
            self._last_line = max(self._inputs, default=self._last_line)


def _input_of(prompt: Prompt) -> LineInput:
    """Return what a line said. The documents of a ranking are no prompt of their own."""
    return LineInput(prompt.columns, prompt.source, None if prompt.rerank is not None else prompt.text)
