"""`qwen-batch results`"""

from __future__ import annotations

import click

from cli.console.console import Console
from cli.options.options import (
    errors_option,
    job_argument,
    output_option,
    pass_console,
    redis_url_option,
    settings_with,
    verbosity_options,
)
from cli.options.result_target import ResultTarget
from cli.store import open_store
from jobs.errors import JobConflict


@click.command(name="results")
@job_argument
@output_option
@errors_option
@click.option(
    "--partial",
    is_flag=True,
    help="Write what there is: of a job that still runs, or whose results are not all there any more.",
)
@redis_url_option
@verbosity_options
@pass_console
def command(  # one parameter an option
    console: Console, job_id: str, output: str | None, errors: str | None, partial: bool, redis_url: str | None
) -> None:
    """Write a job's results, in input order, to stdout or a file.

    They have the format of the input: one JSON object a line, each submitted
    line exactly once (docs/results-format.md). The exit code is 0 when they
    are written, whatever they say; `watch` reports how a job ended.

    If the store has lost results of a job that has ended, the command names
    the missing lines and ends with exit code 6. A file of -o then stays as it
    was, and stdout has the lines that are left. `retry` runs the others again.

    \b
    Examples:
      qwen-batch results JOB -o results.jsonl
      qwen-batch results JOB --partial | jq -r .completion
    """
    target = ResultTarget.of_options(output, errors)
    store = open_store(settings_with(redis_url=redis_url))
    job = store.job(job_id)
    if not job.state.ended and not partial:
        raise JobConflict(
            f"The job has not ended: {job.done:,} of {job.spec.num_lines:,} lines are finished.",
            f"Wait for it with `qwen-batch watch {job_id}`, or take what there is with --partial.",
        )
    counts = target.write(store, job, partial)
    if counts.missing:
        console.warn(f"The store lacks {counts.missing:,} results of the job: {counts.missing_lines}.")
    console.say(f"Wrote {counts.completed:,} completed and {counts.failed:,} failed lines.")
