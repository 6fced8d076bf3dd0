"""Group the failed lines of a job, so that a person sees what to mend."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from jobs.records.completion import Completion
from jobs.records.job import Job
from jobs.stores.client_facets import JobReader

MAX_SECONDS = 2.0  # for reading failed lines on behalf of one page
_MAX_GROUPS = 20
_MAX_LINES = 12  # line numbers per group
_NUMBER = re.compile(r"\d[\d,.]*\d|\d")


@dataclass
class ErrorGroup:
    """Failed lines with the same code and, apart from numbers, the same message."""

    code: str
    message: str  # with # for numbers that differ
    count: int = 0
    lines: list[int] = field(default_factory=list)  # indexes of the first lines, from 0


@dataclass(frozen=True)
class ErrorGroups:
    """The groups of a job, largest first."""

    groups: list[ErrorGroup]
    counted: int  # failed lines that were read
    more_groups: int  # groups that are left out


def grouped_errors(reader: JobReader, job: Job, max_seconds: float = MAX_SECONDS) -> ErrorGroups:
    """Group the failed lines of a job. Reads only shards that have some, for `max_seconds` at most.

    Raises:
        JobNotFound: The job was deleted.
        StoreUnavailable: The store cannot be reached.
    """
    deadline = time.monotonic() + max_seconds
    known: dict[tuple[str, str], ErrorGroup] = {}
    counted = 0
    for shard in reader.failed_shards(job.id):
        if time.monotonic() > deadline:
            break
        counted += _add(known, (completion for _, completion in reader.lines(shard) if completion is not None))
    groups = sorted(known.values(), key=lambda group: -group.count)
    return ErrorGroups(groups[:_MAX_GROUPS], counted, max(len(groups) - _MAX_GROUPS, 0))


def _add(known: dict[tuple[str, str], ErrorGroup], completions: Iterable[Completion]) -> int:
    added = 0
    for completion in completions:
        if completion.error is None:
            continue
        added += 1
        code, message = str(completion.error.code), completion.error.message
        shape = (code, _NUMBER.sub("#", message))
        group = known.setdefault(shape, ErrorGroup(code, message))
        if group.message != message:
            group.message = shape[1]
        group.count += 1
        if len(group.lines) < _MAX_LINES:
            group.lines.append(completion.index)
    return added
