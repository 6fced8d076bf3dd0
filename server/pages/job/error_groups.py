"""Group the failed lines of a job, so that a person sees what to mend."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from jobs.records.completion import Completion
from jobs.records.job import Job
from jobs.stores.client_facets import JobReader
from server.in_threads import InThreads

MAX_SECONDS = 2.0  # for reading failed lines on behalf of one page
_MAX_GROUPS = 20
_MAX_LINES = 12  # line numbers per group
_MAX_SHARE = 20  # lines of a job are read in at most 1 / 20 of the time
_MAX_KNOWN = 200  # jobs
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


class KnownErrors:
    """Groups the failed lines of jobs, and reads them again only when there are others.

    A job that fails line by line would otherwise be read without a pause, by every tab that shows it. Reading takes at
    most a `_MAX_SHARE`th of the time.

    Args:
        threads: Where lines are read.
        reader: Reads lines.
        clock: Returns monotonic seconds.
    """

    def __init__(self, threads: InThreads, reader: JobReader, clock: Callable[[], float] = time.monotonic) -> None:
        self._threads = threads
        self._reader = reader
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def of(self, job: Job) -> ErrorGroups:
        """Return the groups of a job. Raises as `grouped_errors`."""
        version, known = (job.failed, job.ended_at), self._known.get(job.id)
        if known is not None and (known.version == version or self._clock() < known.fresh_until):
            return known.groups
        began = self._clock()
        groups = await self._threads.shared(("errors", job.id), lambda: grouped_errors(self._reader, job))
        now = self._clock()
        self._known[job.id] = _Known(version, groups, now + _MAX_SHARE * (now - began))
        self._known.move_to_end(job.id)
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        return groups


@dataclass(frozen=True)
class _Known:
    """The groups of a job at one moment."""

    version: tuple[int, float | None]  # number of failed lines, and the end of the job
    groups: ErrorGroups
    fresh_until: float  # monotonic seconds


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
