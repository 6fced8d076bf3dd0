"""Submit a prompt file as a job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from msgspec import structs

from jobs.errors import JobConflict, QwenBatchError, StoreUnavailable
from jobs.files.file_report import FileReport
from jobs.files.prompt_file import PromptFile
from jobs.queue.hints import HintSender
from jobs.records.job import Job, NewJob, ShardRef
from jobs.records.job_id import new_job_id
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.stores.protocol import JobStore
from jobs.submission.reuse import EarlierLines
from jobs.submission.sharding import shard_size

ID_ATTEMPTS = 10  # a new id is taken with probability 1e-6 per job of the same second


@dataclass(frozen=True)
class SubmitOptions:
    """Options of a submission."""

    model: str  # the served model's name
    defaults: SamplingSettings = field(default_factory=SamplingSettings)  # settings that a line does not set itself
    seed: int = 0  # source of the seed of each line without its own
    skip_invalid: bool = False  # True: a bad line becomes an `invalid_line` result; False: the file is refused
    card: ModelCard | None = None  # the model's facts; None for the card that a worker has published, if any
    lines_per_shard: int | None = None  # None for `jobs.submission.sharding.shard_size`
    priority: int = 0  # a job with a higher priority runs first
    deadline_seconds: float | None = None  # max seconds from the moment at which the whole job is stored
    reuse: bool = False  # True: lines that an earlier job of the model has completed do not run again


@dataclass(frozen=True)
class Submitted:
    """Result of a submission."""

    job: Job  # in state `queued` or later
    is_new: bool  # False if an earlier submission made this job


def submit_file(
    store: JobStore,
    hints: HintSender,
    file: PromptFile,
    options: SubmitOptions,
    key_of: Callable[[FileReport], str] | None = None,
) -> Submitted:
    """Check a file, store it as a job, and hint its shards to the workers.

    An error or an interrupt before the job is open removes everything that was stored. An open job runs even if no hint
    can be sent, because workers also search for shards that nobody holds.

    Args:
        store: Store of the job.
        hints: Sender of the hints.
        file: The prompt file.
        options: Options of the submission.
        key_of: Returns the submission key of a checked file. If a job that stands holds this key, it is returned
            instead of a new job. None to make a new job in any case.

    Raises:
        InvalidInput: The file cannot be submitted, or it changed between the two passes.
        StoreUnavailable: The server cannot be reached.
        StoreFull: The job does not fit in the server's memory.
    """
    card = options.card or store.model(options.model)
    report = file.check(card, options.model, options.skip_invalid)
    key = key_of(report) if key_of is not None else None
    earlier = store.submitted(key) if key is not None else None
    if earlier is not None:
        return Submitted(earlier, is_new=False)
    spec = _create(store, _spec(report, options, key))
    try:
        _store_shards(store, file, spec, _earlier_lines(store, file, options, card) if options.reuse else None)
        holder = store.claim(spec.id)
        if holder != spec.id:
            store.delete(spec.id)
            return Submitted(store.job(holder), is_new=False)
        shards = store.open(spec.id)
    except BaseException:
        _take_back(store, spec)
        raise
    with suppress(StoreUnavailable):
        hints.send(spec.model, shards)
    return Submitted(store.job(spec.id), is_new=True)


def _create(store: JobStore, spec: NewJob) -> NewJob:
    """Create a job without shards. If another job has the id, try a new id. Returns the spec that was stored."""
    for attempts_left in reversed(range(ID_ATTEMPTS)):
        try:
            store.create(spec)
            break
        except JobConflict:  # the stored job belongs to another submission, so it must stay
            if attempts_left == 0:
                raise
            spec = structs.replace(spec, id=new_job_id(spec.created_at))
        except BaseException:
            _take_back(store, spec)
            raise
    return spec


def _take_back(store: JobStore, spec: NewJob) -> None:
    with suppress(QwenBatchError):  # the caller reports the first error
        store.delete(spec.id)


def _earlier_lines(store: JobStore, file: PromptFile, options: SubmitOptions, card: ModelCard | None) -> EarlierLines:
    """Find completions of earlier jobs for the file's lines."""
    earlier = EarlierLines(store, options.model, card.defaults if card is not None else SamplingSettings())
    keys = earlier.keys(options.defaults, options.seed)
    earlier.look_for(map(keys.key, file.prompts()))
    return earlier


def _store_shards(store: JobStore, file: PromptFile, spec: NewJob, earlier: EarlierLines | None) -> None:
    keys = earlier.keys(spec.defaults, spec.seed) if earlier is not None else None
    for index, prompts in enumerate(_chunks(file.prompts(), spec.shard_size)):
        known = []
        if earlier is not None and keys is not None:
            found = (earlier.completion(keys.key(prompt), prompt) for prompt in prompts)
            known = [completion for completion in found if completion is not None]
        store.add_shard(ShardRef(spec.id, index), prompts, known)


def _spec(report: FileReport, options: SubmitOptions, key: str | None) -> NewJob:
    created_at = time.time()
    return NewJob(
        id=new_job_id(created_at),
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
        key=key,
    )


def _chunks(prompts: Iterable[Prompt], size: int) -> Iterator[list[Prompt]]:
    rest = iter(prompts)
    while chunk := list(islice(rest, size)):
        yield chunk
