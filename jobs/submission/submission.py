"""From a prompt file to an open job."""

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

ID_ATTEMPTS = 10  # a taken id is one in a million for each job of the same second


@dataclass(frozen=True)
class SubmitOptions:
    """What a person may say about a job besides its lines."""

    model: str  # the served model's name
    defaults: SamplingSettings = field(default_factory=SamplingSettings)  # for what a line leaves out
    seed: int = 0  # decides the seed of every line that names none
    skip_invalid: bool = False  # bad lines become `invalid_line` results instead of refusing the file
    card: ModelCard | None = None  # the model's facts; None: what a worker has published, if one has
    lines_per_shard: int | None = None  # None: `jobs.submission.sharding.shard_size`
    priority: int = 0  # jobs with a higher one go first
    deadline_seconds: float | None = None  # from the moment at which the job is stored whole
    reuse: bool = False  # lines that an earlier job of the model has completed are not run again


@dataclass(frozen=True)
class Submitted:
    """What a submission led to."""

    job: Job  # `queued` or later
    is_new: bool  # False: the same was submitted before, and this is that job


def submit_file(
    store: JobStore,
    hints: HintSender,
    file: PromptFile,
    options: SubmitOptions,
    key_of: Callable[[FileReport], str] | None = None,
) -> Submitted:
    """Check a file, store it as a job, and tell the workers.

    All or nothing: until the job is open, an error or an interrupt takes back what was stored. Once it is open it
    stands, even if the hints do not get out: workers look for shards that nobody holds, too.

    Args:
        key_of: Names a checked file's submission: one that stands under the same name is returned instead of a new
            job. None: it is a job of its own in any case.

    Raises:
        InvalidInput: The file cannot be submitted, or changed on the way.
        StoreUnavailable: The store went away.
        StoreFull: It does not fit.
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
    """Store a job's head, under another id where somebody else's job has this one. Returns what was stored."""
    for attempts_left in reversed(range(ID_ATTEMPTS)):
        try:
            store.create(spec)
            break
        except JobConflict:  # not ours to take back
            if attempts_left == 0:
                raise
            spec = structs.replace(spec, id=new_job_id(spec.created_at))
        except BaseException:
            _take_back(store, spec)
            raise
    return spec


def _take_back(store: JobStore, spec: NewJob) -> None:
    with suppress(QwenBatchError):  # the error that brought us here is the one to report
        store.delete(spec.id)


def _earlier_lines(store: JobStore, file: PromptFile, options: SubmitOptions, card: ModelCard | None) -> EarlierLines:
    """Where earlier jobs have completions for the file's lines."""
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
