"""Add the lines of a file to an existing job."""

from __future__ import annotations

import msgspec

from jobs.errors import InvalidInput
from jobs.files.file_report import FileReport
from jobs.files.formats.seen_ids import LinesBefore
from jobs.files.prompt_file import PromptFile
from jobs.records.job import ShardRef
from jobs.stores.client_facets import JobReader
from jobs.stores.protocol import JobStore
from jobs.submission.checking import check_file
from jobs.submission.submit_options import LineOptions, SubmitOptions

MAX_LINES = 100_000  # max lines per call: one script adds them all, and it blocks the server for other clients


def store_more_lines(
    store: JobStore, job_id: str, file: PromptFile, skip_invalid: bool, lines: LineOptions
) -> tuple[FileReport, list[ShardRef]]:
    """Check a file against a job and add its lines after the job's own. Adds all lines or none.

    A line without an id gets the next number as its id. Returns the file's report and the new shards.

    Raises:
        InvalidInput: The file cannot be submitted, has another format than the job, or has too many lines. Also raised
            if a line has the id of one of the job's lines.
        JobConflict: The job is being submitted, is ending, or ended early.
        StoreUnavailable: The server cannot be reached.
    """
    spec = store.jobs.get(job_id).spec
    before = _lines_before(store.jobs, job_id, spec.num_shards)
    options = SubmitOptions(
        spec.model,
        skip_invalid=skip_invalid,
        card=store.fleet.model(spec.model),
        lines=lines,
        defaults=spec.defaults,
        line_defaults=spec.line_defaults,
    )
    checked = check_file(file, options, before)
    report = checked.report
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
    prompts = [msgspec.structs.replace(prompt, index=spec.num_lines + prompt.index) for prompt in checked.prompts()]
    size = spec.shard_size
    parts = [prompts[first : first + size] for first in range(0, len(prompts), size)]
    return report, store.submissions.extend(spec, parts)


def _lines_before(reader: JobReader, job_id: str, num_shards: int) -> LinesBefore:
    before = LinesBefore()
    for index in range(num_shards):
        for prompt, _ in reader.lines(ShardRef(job_id, index)):
            if prompt.line is None:
                before.add(prompt.id)
    return before
