"""The command `qwen-batch extend`."""

from __future__ import annotations

import sys

import click

from cli.console.console import Console
from cli.console.progress import watch_to_the_end
from cli.named_job import job_to_change
from cli.options.line_options import line_options
from cli.options.options import (
    console_options,
    job_argument,
    prompts_argument,
    redis_url_option,
    settings_with,
    skip_invalid_option,
    wait_option,
)
from cli.options.reading_options import reading_options
from cli.options.target_model import say_notices
from cli.store import open_client, open_store_to_watch
from jobs.exit_codes import ExitCode
from jobs.files.prompt_file import PromptFile
from jobs.files.reading.row_reader import ReadingOptions
from jobs.submission.submit_options import LineOptions


@click.command(name="extend")
@job_argument
@prompts_argument
@reading_options
@skip_invalid_option
@line_options
@wait_option
@redis_url_option
@console_options
def command(
    console: Console,
    *,
    job_id: str,
    prompts: tuple[str, ...],
    reading: ReadingOptions,
    skip_invalid: bool,
    lines: LineOptions,
    wait: bool,
    redis_url: str | None,
) -> ExitCode:
    """Add the lines of one or more files to a job.

    The job must be queued, in progress or completed. The new lines follow the
    job's own lines and get the job's settings and seed. They must have the
    job's format and new ids. Lines without an id continue the numbering. If a
    line is invalid, the command adds no line.

    \b
    Examples:
      qwen-batch extend JOB more.jsonl
      qwen-batch extend JOB more.jsonl --wait
    """
    settings = settings_with(redis_url=redis_url)
    client = open_client(settings)
    job_id = job_to_change(client.store, job_id, console)
    before = client.store.jobs.get(job_id).spec.num_lines
    with PromptFile.open(prompts, sys.stdin.buffer, reading) as file:
        job, report = client.extend(job_id, file, skip_invalid, lines)
    say_notices(report, job.spec.model, console)
    console.say(f"Added {job.spec.num_lines - before:,} lines. The job now has {job.spec.num_lines:,} lines.")
    return watch_to_the_end(open_store_to_watch(settings), job_id, console) if wait else ExitCode.DONE
