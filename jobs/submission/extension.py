"""Adding the lines of a file to a job that is there."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from jobs.errors import InvalidInput, StoreUnavailable
from jobs.files.formats.line_decoder import LinesBefore
from jobs.files.prompt_file import PromptFile
from jobs.queue.hints import HintSender
from jobs.records.job import Job, ShardRef
from jobs.stores.protocol import JobStore

MAX_LINES = 100_000  # they are added in one step, which the server does nothing beside


def extend_job(store: JobStore, hints: HintSender, job_id: str, file: PromptFile, skip_invalid: bool) -> Job:
    """Check a file against a job and add its lines behind the job's own: all of them or none.

    A line that names no id gets the next number. Returns the job as it then stands.

    Raises:
        InvalidInput: The file cannot be submitted, has the job's other format or too many lines, or an id of the job.
        JobConflict: The job is being submitted, ends, or ended early.
        StoreUnavailable: The store went away.
    """
    spec = store.job(job_id).spec
    before = _lines_before(store, job_id, spec.num_shards)
    report = file.check(store.model(spec.model), spec.model, skip_invalid, before)
    if report.format != spec.format:
        raise InvalidInput(
            f"{report.name} is in the {report.format} format, but the job is in the {spec.format} format.",
            "Submit the file as a new job.",
        )
    if report.num_lines > MAX_LINES:
        raise InvalidInput(
            f"{report.name} has {report.num_lines:,} lines; one command can add at most {MAX_LINES:,}.",
            "Submit the file as a new job, or add it in parts.",
        )
    prompts = [msgspec.structs.replace(prompt, index=spec.num_lines + prompt.index) for prompt in file.prompts()]
    size = spec.shard_size
    shards = store.extend(spec, [prompts[first : first + size] for first in range(0, len(prompts), size)])
    with suppress(StoreUnavailable):  # workers look for shards that nobody holds, too
        hints.send(spec.model, shards)
    return store.job(job_id)


def _lines_before(store: JobStore, job_id: str, num_shards: int) -> LinesBefore:
    before = LinesBefore()
    for index in range(num_shards):
        for prompt, _ in store.lines(ShardRef(job_id, index)):
            if prompt.line is None:
                before.add(prompt.id)
    return before
