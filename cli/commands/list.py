"""`qwen-batch list`"""

from __future__ import annotations

import click
from rich.table import Table

from cli import figures
from cli.console import Console
from cli.harmless import harmless
from cli.job_row import JobRow, state_text
from cli.options import json_option, pass_console, redis_url_option, settings_with, verbosity_options
from cli.store import open_store
from jobs.job import Job


@click.command(name="list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="Jobs at the most.")
@redis_url_option
@json_option
@verbosity_options
@pass_console
def command(console: Console, limit: int, redis_url: str | None, as_json: bool) -> None:
    """List jobs, the newest first.

    \b
    Examples:
      qwen-batch list
      qwen-batch list --json | jq -r '.[] | select(.failed > 0) | .id'
    """
    jobs = open_store(settings_with(redis_url=redis_url)).jobs(limit)
    if as_json:
        console.json([JobRow.of(job) for job in jobs])
    elif jobs:
        console.show(_table(jobs))
    else:
        console.say("There are no jobs. Make one with `qwen-batch submit PROMPTS`.")


def _table(jobs: list[Job]) -> Table:
    """Ids are never cut: they are there to be copied."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("JOB", no_wrap=True, min_width=max(len(harmless(job.id)) for job in jobs))
    table.add_column("STATE", no_wrap=True)
    table.add_column("LINES", justify="right", no_wrap=True)
    any_failed = any(job.failed for job in jobs)
    if any_failed:
        table.add_column("FAILED", justify="right", no_wrap=True)
    table.add_column("MODEL", no_wrap=True, overflow="ellipsis")
    table.add_column("PROMPTS", no_wrap=True, overflow="ellipsis")
    for job in jobs:
        table.add_row(
            harmless(job.id),
            state_text(job),
            f"{figures.count(job.done)}/{figures.count(job.spec.num_lines)}",
            *([figures.count(job.failed)] if any_failed else []),
            harmless(job.spec.model),
            harmless(job.spec.source),
        )
    return table
