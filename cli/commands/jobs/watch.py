"""The command `qwen-batch watch`."""

from __future__ import annotations

import click

from cli.console.console import Console
from cli.console.progress import watch_to_the_end
from cli.named_job import job_to_read
from cli.options.options import console_options, job_argument, json_option, redis_url_option, settings_with
from cli.store import open_store_to_watch
from jobs.exit_codes import ExitCode


@click.command(name="watch")
@job_argument
@redis_url_option
@json_option
@console_options
def command(console: Console, job_id: str, redis_url: str | None, as_json: bool) -> ExitCode:
    """Follow a job until it ends.

    Progress goes to stderr: a bar on a terminal, else a line every 10 s. With
    --json, the command prints a JSON line to stdout for each change. Ctrl-C
    ends the command, not the job.

    \b
    Exit codes: 0 completed, 1 completed with failed lines, 5 cancelled,
    expired or failed, 130 interrupted.

    \b
    Examples:
      qwen-batch watch JOB
      qwen-batch watch JOB && qwen-batch results JOB -o results.jsonl
    """
    store = open_store_to_watch(settings_with(redis_url=redis_url))
    return watch_to_the_end(store, job_to_read(store, job_id), console, as_json=as_json)
