"""The command `qwen-batch retry`."""

from __future__ import annotations

import click

from cli.console.console import Console
from cli.console.progress import watch_to_the_end
from cli.named_job import job_to_change
from cli.options.options import console_options, job_argument, redis_url_option, settings_with, wait_option
from cli.store import open_client, open_store_to_watch
from jobs.exit_codes import ExitCode


@click.command(name="retry")
@job_argument
@wait_option
@redis_url_option
@console_options
def command(console: Console, job_id: str, wait: bool, redis_url: str | None) -> ExitCode:
    """Run the failed lines of an ended job again.

    Completed lines keep their results. Lines of a cancelled job that never ran
    count as failed: `retry` also resumes a cancelled job. It also runs lines
    whose results the store has lost.

    \b
    Examples:
      qwen-batch retry JOB
      qwen-batch retry JOB --wait
    """
    settings = settings_with(redis_url=redis_url)
    client = open_client(settings)
    job_id = job_to_change(client.store, job_id, console)
    if not client.retry(job_id):
        console.say("There is nothing to retry: no line of this job has failed, and no result is missing.")
        return ExitCode.DONE
    console.say("The lines without a completion are queued again.")
    return watch_to_the_end(open_store_to_watch(settings), job_id, console) if wait else ExitCode.DONE
