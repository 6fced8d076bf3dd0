"""The command `qwen-batch results`."""

from __future__ import annotations

import click

from cli.console.console import Console
from cli.named_job import job_to_read
from cli.options.options import (
    console_options,
    errors_option,
    job_argument,
    output_option,
    redis_url_option,
    settings_with,
)
from cli.options.result_target import ResultTarget
from cli.options.target_options import style_options
from cli.store import open_store
from jobs.errors import JobConflict
from jobs.files.results.results_file import ResultStyle


@click.command(name="results")
@job_argument
@output_option
@style_options
@errors_option
@click.option(
    "--partial",
    is_flag=True,
    help="Write the results that exist, of a running job or of a job with lost results.",
)
@redis_url_option
@console_options
def command(  # one parameter per option
    console: Console,
    *,
    job_id: str,
    output: str | None,
    style: ResultStyle,
    errors: str | None,
    partial: bool,
    redis_url: str | None,
) -> None:
    """Write a job's results, in input order, to stdout or a file.

    Each submitted line has exactly one result (docs/results-format.md). The
    ending of FILE decides the format: .csv, .tsv, .parquet or .arrow is a table,
    and everything else is JSONL in the format of the input. After .jsonl, .csv
    or .tsv may stand .gz, .zst, .bz2 or .xz. The exit code is 0 once the results
    are written, even if lines have failed.

    If the store has lost results of an ended job, the command names the missing
    lines and exits with code 6. It then leaves the file of -o as it was. On
    stdout, it writes the remaining lines. `retry` runs the missing lines again.

    \b
    Examples:
      qwen-batch results JOB -o results.jsonl
      qwen-batch results JOB -o results.parquet
      qwen-batch results JOB --partial | jq -r .completion
    """
    target = ResultTarget.of_options(style, output, errors)
    store = open_store(settings_with(redis_url=redis_url))
    job_id = job_to_read(store, job_id)
    job = store.jobs.get(job_id)
    if not job.state.ended and not partial:
        raise JobConflict(
            f"The job has not ended: {job.done:,} of {job.spec.num_lines:,} lines are finished.",
            f"Wait for it with `qwen-batch watch {job_id}`, or write the finished lines with --partial.",
        )
    counts = target.write(store, job, partial)
    if counts.missing:
        console.warn(f"The store lacks {counts.missing:,} results of the job: {counts.missing_lines}.")
    for warning in counts.warnings():
        console.warn(warning)
    console.say(f"Wrote {counts.completed:,} completed and {counts.failed:,} failed lines.")
