"""The command `qwen-batch cancel`."""

from __future__ import annotations

import click

from cli.console.console import Console
from cli.named_job import job_to_change
from cli.options.options import console_options, job_argument, redis_url_option, settings_with
from cli.store import open_store


@click.command(name="cancel")
@job_argument
@redis_url_option
@console_options
def command(console: Console, job_id: str, redis_url: str | None) -> None:
    """End a job early; finished lines stay and can be read.

    Workers drop the job's lines within a second or two. A job that has already
    ended does not change.

    \b
    Examples:
      qwen-batch cancel JOB
      qwen-batch results JOB -o finished-so-far.jsonl
    """
    store = open_store(settings_with(redis_url=redis_url))
    job = store.control.request_cancel(job_to_change(store, job_id, console))
    if job.state.ended:
        console.say(f"The job is {job.state.value}; it has {job.completed:,} completed lines.")
    else:
        console.say("The job will end as soon as its workers have dropped their lines.")
