"""The command `qwen-batch pause`."""

from __future__ import annotations

import click

from cli.console.console import Console
from cli.named_job import job_to_change
from cli.options.options import console_options, job_argument, redis_url_option, settings_with
from cli.store import open_store


@click.command(name="pause")
@job_argument
@redis_url_option
@console_options
def command(console: Console, job_id: str, redis_url: str | None) -> None:
    """Pause a job.

    Finished lines stay and can be read. Workers give unfinished lines back
    within a second or two. After `resume`, these lines start again from the
    beginning and give the same text. The job's deadline still applies.

    \b
    Examples:
      qwen-batch pause JOB
      qwen-batch results JOB --partial -o finished-so-far.jsonl
    """
    store = open_store(settings_with(redis_url=redis_url))
    job_id = job_to_change(store, job_id, console)
    job = store.control.pause(job_id)
    console.say(
        f"The job is paused; {job.done:,} of {job.spec.num_lines:,} lines are finished. "
        f"Resume it with `qwen-batch resume {job_id}`."
    )
