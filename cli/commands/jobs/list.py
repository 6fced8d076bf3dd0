"""The command `qwen-batch list`."""

from __future__ import annotations

import click
from rich.table import Table

from cli.console.console import Console
from cli.console.job_row import JobRow, state_text
from cli.options.options import WholeNumber, console_options, json_option, redis_url_option, settings_with
from cli.store import open_store
from jobs.harmless import harmless
from jobs.records.job import Job
from jobs.stats import figures

_WORDS = ("JOB", "STATE")


@click.command(name="list")
@click.option(
    "--limit", type=WholeNumber(1), default=20, show_default=True, metavar="N", help="Maximum number of jobs."
)
@redis_url_option
@json_option
@console_options
def command(console: Console, limit: int, redis_url: str | None, as_json: bool) -> None:
    """List jobs, newest first.

    \b
    Examples:
      qwen-batch list
      qwen-batch list --json | jq -r '.[] | select(.failed > 0) | .id'
    """
    jobs = open_store(settings_with(redis_url=redis_url)).jobs.newest(limit)
    if as_json:
        console.json([JobRow.of(job) for job in jobs])
    elif jobs:
        console.show(_table(jobs, console.out.width))
    else:
        console.say("There are no jobs. Make one with `qwen-batch submit PROMPTS`.")


def _table(jobs: list[Job], width: int) -> Table:
    """Return the table of jobs. Long names are cut, but ids, states and counts are not."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    figures_of = {
        "JOB": [harmless(job.id) for job in jobs],
        "STATE": [state_text(job) for job in jobs],
        "LINES": [f"{figures.count(job.done)}/{figures.count(job.spec.num_lines)}" for job in jobs],
    }
    if any(job.failed for job in jobs):
        figures_of["FAILED"] = [figures.count(job.failed) for job in jobs]
    for title in figures_of:
        table.add_column(title, no_wrap=True, justify="left" if title in _WORDS else "right")
    left = width - sum(max(map(len, (title, *texts))) + 2 for title, texts in figures_of.items())
    model_width = min(max(len(harmless(job.spec.model)) for job in jobs), left // 2)
    table.add_column("MODEL", no_wrap=True, overflow="ellipsis", max_width=max(model_width, 5))
    table.add_column("PROMPTS", no_wrap=True, overflow="ellipsis", max_width=max(left - model_width - 4, 7))
    for job, row in zip(jobs, zip(*figures_of.values(), strict=True), strict=True):
        table.add_row(*row, harmless(job.spec.model), harmless(job.spec.source))
    return table
