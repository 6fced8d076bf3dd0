"""The command `qwen-batch delete`."""

from __future__ import annotations

import click

from cli.console.console import Console
from cli.named_job import job_to_change
from cli.options.options import console_options, redis_url_option, settings_with
from cli.store import open_store


@click.command(name="delete")
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@redis_url_option
@console_options
def command(console: Console, job_ids: tuple[str, ...], redis_url: str | None) -> None:
    """Delete ended jobs with their prompts and results.

    Cancel a running job before you delete it.

    \b
    Examples:
      qwen-batch delete JOB
      qwen-batch delete $(qwen-batch list --json | jq -r '.[].id')
    """
    store = open_store(settings_with(redis_url=redis_url))
    for job_id in [job_to_change(store, said, console) for said in job_ids]:  # the parts name jobs that all still exist
        store.control.delete(job_id)
        console.say(f"Deleted {job_id}.")
