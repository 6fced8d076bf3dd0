"""Format one result in its job's own format."""

from __future__ import annotations

from jobs.files.results.kept_columns import NO_INPUT, LineInput
from jobs.files.results.native_lines import native_line
from jobs.files.results.openai_lines import openai_line
from jobs.records.completion import Completion
from jobs.records.job import Job


def result_line(completion: Completion, job: Job, kept: LineInput = NO_INPUT) -> bytes:
    """Return one result as a line of JSON, including the newline: a native line, or one of OpenAI's."""
    if job.spec.format == "native":
        return native_line(completion, kept)
    return openai_line(completion, job, kept)
