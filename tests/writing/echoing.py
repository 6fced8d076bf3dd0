"""A job that echoes its prompts: from a source in any container to results in any container, without a model."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from jobs.files.prompt_file import PromptFile
from jobs.files.reading.compressed import decompressed
from jobs.files.reading.row_prompts import PromptOptions
from jobs.files.reading.row_reader import ReadingOptions
from jobs.files.results.kept_columns import KeptColumns
from jobs.files.results.results_file import ResultStyle, write_results
from jobs.files.writing.destination import LocalFile
from jobs.records.completion import Completion, ErrorCode, Usage
from jobs.records.job import Job
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason
from jobs.stores.memory.store import MemoryJobStore
from jobs.stores.protocol import JobStore
from jobs.submission.submit_options import SubmitOptions
from testing.jobs.sample_jobs import shard_stats
from tests.formats.submission.submitting import Hints, submit_file

WORKER = "worker-1"


class EchoJob:
    """A finished job. Each line's completion is its prompt.

    Args:
        source: Files of prompts.
        failing: Ids of lines that fail.
        prompts: How the rows become prompts.
    """

    def __init__(self, *source: Path, failing: Sequence[str] = (), **prompts: Any) -> None:
        self.store: JobStore = MemoryJobStore(time.time)
        reading = ReadingOptions(prompts=PromptOptions(**prompts))
        with PromptFile.open([str(path) for path in source], io.BytesIO(), reading) as file:
            options = SubmitOptions("demo", skip_invalid=True)
            self.job: Job = submit_file(self.store, Hints(), file, options).job
        self._failing = failing
        self.finish()

    def finish(self) -> None:
        """Run all lines that wait."""
        for shard in self.store.recovery.recoverable_shards("demo", 100):
            lease = self.store.work.lease(shard, WORKER, 60)
            assert lease is not None
            lines = [_echo(prompt, prompt.id in self._failing) for prompt in self.store.work.pending(lease)]
            self.store.work.write(lease, lines)
            self.store.work.finish_shard(lease, shard_stats(WORKER))
        self.job = self.store.jobs.get(self.job.id)

    def write(self, output: Path, errors: Path | None = None, **style: Any) -> Path:
        """Write the results, as `results -o` does."""
        write_results(
            self.store.jobs.results(self.job.id),
            self.job,
            LocalFile(output),
            None if errors is None else LocalFile(errors),
            input_of=KeptColumns(self.store, self.job).of,
            style=ResultStyle(**style),
        )
        return output


def _echo(prompt: Prompt, failing: bool) -> Completion:
    if failing or prompt.invalid:
        return Completion.failed_prompt(prompt, ErrorCode.INVALID_LINE, prompt.invalid or "It fails.")
    text = prompt.text if prompt.text is not None else str((prompt.messages or ({},))[-1].get("content"))
    return Completion(prompt.index, prompt.id, text, FinishReason.STOP, Usage(len(text), 1), endpoint=prompt.endpoint)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of results. Each cell of CSV is text."""
    if path.suffix in (".parquet", ".arrow"):
        rows: list[dict[str, Any]] = table_of(path).to_pylist()
        return rows
    content = path.read_bytes()
    inner = decompressed(io.BytesIO(content), content[:6], path.name)
    content = content if inner is None else inner.read()
    if ".jsonl" in path.name:
        return [json.loads(line) for line in content.splitlines()]
    delimiter = "\t" if ".tsv" in path.name else ","
    return list(csv.DictReader(io.StringIO(content.decode(), newline=""), delimiter=delimiter, strict=True))


def table_of(path: Path) -> Any:
    if path.suffix == ".parquet":
        return parquet.read_table(path)
    with pa.ipc.open_file(path) as reader:
        return reader.read_all()
