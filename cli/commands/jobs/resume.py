"""The command `qwen-batch resume`."""

from __future__ import annotations

import click

from cli.console.console import Console
from cli.named_job import job_to_change
from cli.options.options import console_options, job_argument, redis_url_option, settings_with
from cli.store import open_client


@click.command(name="resume")
@job_argument
@redis_url_option
@console_options
def command(console: Console, job_id: str, redis_url: str | None) -> None:
    """Resume a paused job.

    The job comes next among the jobs of its priority. Finished lines keep their
    results; the other lines start again.

    \b
    Examples:
      qwen-batch resume JOB
      qwen-batch resume JOB && qwen-batch watch JOB
    """
    client = open_client(settings_with(redis_url=redis_url))
    client.resume(job_to_change(client.store, job_id, console))
    console.say("The job is no longer paused.")
