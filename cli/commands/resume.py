"""`qwen-batch resume`"""

from __future__ import annotations

import click

from cli.console.console import Console
from cli.options.options import job_argument, pass_console, redis_url_option, settings_with, verbosity_options
from cli.store import open_client


@click.command(name="resume")
@job_argument
@redis_url_option
@verbosity_options
@pass_console
def command(console: Console, job_id: str, redis_url: str | None) -> None:
    """Resume a paused job.

    The job takes its turn among the other jobs at once.

    \b
    Examples:
      qwen-batch resume JOB
      qwen-batch resume JOB && qwen-batch watch JOB
    """
    open_client(settings_with(redis_url=redis_url)).resume(job_id)
    console.say("The job is no longer paused.")
