"""Store a prompt file as a job: all of it, or nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from msgspec import structs

from jobs.errors import JobConflict, QwenBatchError
from jobs.files.file_report import FileReport
from jobs.files.prompt_file import CheckedFile
from jobs.records.job import Job, JobState, NewJob, ShardRef
from jobs.records.job_id import job_id_of_batch, new_job_id
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.stores.client_facets import JobControl, Submissions
from jobs.stores.protocol import JobStore
from jobs.submission.reuse import EarlierLines, ReuseCounts
from jobs.submission.sharding import shard_size
from jobs.submission.submit_options import SubmitOptions

ID_ATTEMPTS = 10  # a new id is taken with probability 1e-6 per job of the same second


@dataclass(frozen=True)
class Submitted:
    """Result of a submission."""

    job: Job  # in state `queued` or later
    shards: list[ShardRef] | None  # shards that need a worker; None if an earlier submission made this job
    reuse: ReuseCounts = field(
        default_factory=ReuseCounts
    )  # what the weights of earlier completions meant for their reuse

    @property
    def is_new(self) -> bool:
        """False if an earlier submission made this job."""
        return self.shards is not None


def store_file(store: JobStore, checked: CheckedFile, options: SubmitOptions, key: str | None = None) -> Submitted:
    """Store a checked file as a job, and open the job to the workers.

    An error or an interrupt before the job is open removes everything that was stored.

    Args:
        store: Store of the job.
        checked: The prompt file.
        options: Options of the submission.
        key: The submission key. If a job that stands holds this key, it is returned instead of a new job. None to make
            a new job in any case.

    Raises:
        InvalidInput: The file changed after its check.
        StoreUnavailable: The server cannot be reached.
        StoreFull: The job does not fit in the server's memory.
    """
    earlier = store.submissions.find(key) if key is not None else None
    if earlier is not None:
        return Submitted(earlier, None)
    spec = _create(store, _spec(checked.report, options, key))
    try:
        earlier_lines = _earlier_lines(store, checked, options) if options.reuse else None
        _store_shards(store.submissions, checked, spec, earlier_lines)
        holder = store.submissions.claim(spec.id)
        if holder != spec.id:
            store.control.delete(spec.id)
            return Submitted(store.jobs.get(holder), None)
        shards = store.submissions.open(spec.id)
    except BaseException:
        _take_back(store.control, spec)
        raise
    return Submitted(store.jobs.get(spec.id), shards, earlier_lines.counts if earlier_lines else ReuseCounts())


def _create(store: JobStore, spec: NewJob) -> NewJob:
    """Create a job without shards. Returns the spec that was stored.

    A job with this id that an earlier attempt of the same submission left unopened is replaced. If another job has the
    id, the new one gets another id.
    """
    for attempts_left in reversed(range(ID_ATTEMPTS)):
        try:
            store.submissions.create(spec)
            break
        except JobConflict:  # a job of another submission must stay
            if attempts_left == 0:
                raise
            if _is_left_over(store, spec):
                store.control.delete(spec.id)
            else:
                spec = structs.replace(spec, id=new_job_id(spec.created_at))
        except BaseException:
            _take_back(store.control, spec)
            raise
    return spec


def _is_left_over(store: JobStore, spec: NewJob) -> bool:
    (stored,) = store.jobs.get_each([spec.id])
    if not isinstance(stored, Job) or spec.key is None:
        return False
    return stored.state is JobState.VALIDATING and stored.spec.key == spec.key


def _take_back(control: JobControl, spec: NewJob) -> None:
    with suppress(QwenBatchError):  # the caller reports the first error
        control.delete(spec.id)


def _earlier_lines(store: JobStore, checked: CheckedFile, options: SubmitOptions) -> EarlierLines:
    """Find completions of earlier jobs for the file's lines."""
    card = options.card or store.fleet.model(options.model)
    defaults = card.defaults if card is not None else SamplingSettings()
    earlier = EarlierLines(store, options.model, defaults, options.project)
    keys = earlier.keys(options.defaults, options.seed, options.line_defaults)
    earlier.look_for(map(keys.key, checked.prompts()))
    return earlier


def _store_shards(submissions: Submissions, checked: CheckedFile, spec: NewJob, earlier: EarlierLines | None) -> None:
    packed = checked.packed(spec.shard_size) if earlier is None else None
    if packed is not None:
        for index, shard in enumerate(packed):
            submissions.add_packed_shard(ShardRef(spec.id, index), shard)
        return
    keys = earlier.keys(spec.defaults, spec.seed, spec.line_defaults) if earlier is not None else None
    for index, prompts in enumerate(_chunks(checked.prompts(), spec.shard_size)):
        known = []
        if earlier is not None and keys is not None:
            found = (earlier.completion(keys.key(prompt), prompt) for prompt in prompts)
            known = [completion for completion in found if completion is not None]
        submissions.add_shard(ShardRef(spec.id, index), prompts, known)


def _spec(report: FileReport, options: SubmitOptions, key: str | None) -> NewJob:
    created_at = time.time()
    return NewJob(
        id=new_job_id(created_at) if options.batch is None else job_id_of_batch(options.batch),
        model=options.model,
        format=report.format,
        defaults=options.defaults,
        seed=options.seed,
        num_lines=report.num_lines,
        shard_size=options.lines_per_shard or shard_size(report.num_lines),
        source=report.name,
        created_at=created_at,
        priority=options.priority,
        deadline_seconds=options.deadline_seconds,
        has_columns=bool(report.notes.columns) or report.num_files > 1,
        line_defaults=options.line_defaults,
        column_types=report.column_types,
        key=key,
        project=options.project,
        batch=options.batch,
    )


def _chunks(prompts: Iterable[Prompt], size: int) -> Iterator[list[Prompt]]:
    rest = iter(prompts)
    while chunk := list(islice(rest, size)):
        yield chunk
