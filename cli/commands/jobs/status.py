"""The command `qwen-batch status`."""

from __future__ import annotations

import click

from cli.console.console import Console
from cli.console.summary import summary_of
from cli.named_job import job_to_read
from cli.options.options import console_options, job_argument, json_option, redis_url_option, settings_with
from cli.store import open_store


@click.command(name="status")
@job_argument
@redis_url_option
@json_option
@console_options
def command(console: Console, job_id: str, redis_url: str | None, as_json: bool) -> None:
    """Show a job's state, counts and speed.

    docs/results-format.md explains every figure. The exit code is 0 for every
    state of the job. `watch` has an exit code for each way that a job can end.

    \b
    Examples:
      qwen-batch status JOB
      qwen-batch status JOB --json | jq .output_throughput
    """
    store = open_store(settings_with(redis_url=redis_url))
    stats = store.jobs.stats(job_to_read(store, job_id))
    if as_json:
        console.json(stats)
    else:
        console.show(summary_of(stats, sum(worker.model == stats.model for worker in store.fleet.workers())))
