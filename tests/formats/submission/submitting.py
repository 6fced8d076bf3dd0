"""Submitting a file in a test, with hints that are kept instead of sent."""

from __future__ import annotations

from collections.abc import Iterable

from jobs.files.prompt_file import PromptFile
from jobs.records.job import ShardRef
from jobs.stores.protocol import JobStore
from jobs.submission.job_client import JobClient
from jobs.submission.submission import Submitted
from jobs.submission.submit_options import SubmitOptions


class Hints:
    """Keeps the hints that were sent."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sent: list[tuple[str, ShardRef]] = []
        self._error = error

    def send(self, model: str, shards: Iterable[ShardRef]) -> int:
        if self._error is not None:
            raise self._error
        self.sent += [(model, shard) for shard in shards]
        return len(self.sent)

    def depth(self, model: str) -> int:
        return len(self.sent)


def submit_file(store: JobStore, hints: Hints, file: PromptFile, options: SubmitOptions) -> Submitted:
    """Check a file and submit it, without a submission key."""
    client = JobClient(store, hints)
    return client.submit(client.check(file, options), options)
