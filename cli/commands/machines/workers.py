"""The command `qwen-batch workers`."""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from cli.console.console import Console
from cli.options.options import console_options, json_option, redis_url_option, settings_with
from cli.store import open_store
from jobs.harmless import harmless
from jobs.records.worker_report import WorkerReport
from jobs.stats import figures


@click.command(name="workers")
@redis_url_option
@json_option
@console_options
def command(console: Console, redis_url: str | None, as_json: bool) -> None:
    """List workers with their device and current jobs.

    A worker that stops reporting is listed as lost for a minute, while other
    workers continue its lines. SEQS is the number of sequences in the batch
    plus the number of waiting ones. CACHE is the used share of the KV cache.
    HITS is the share of prompt tokens that the prefix cache had, since the
    worker's start. The jobs of each worker are listed below the table.

    \b
    Examples:
      qwen-batch workers
      qwen-batch workers --json | jq 'map(.output_throughput) | add'
    """
    store = open_store(settings_with(redis_url=redis_url))
    workers = store.fleet.workers() + store.fleet.lost_workers()
    if as_json:
        console.json(workers)
    elif workers:
        console.show(_table(workers))
        for worker in workers:
            if worker.state == "loading" and worker.loading_step:
                console.show(Text(f"{_name(worker)} is {harmless(worker.loading_step)}"))
            if worker.jobs:
                console.show(Text(f"{_name(worker)} works on {harmless(', '.join(worker.jobs))}"))
    else:
        console.say("No worker is alive. Start one with `qwen-batch worker --model MODEL`.")


def _table(workers: list[WorkerReport]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("WORKER", overflow="fold")
    table.add_column("MODEL", overflow="fold")
    table.add_column("DEVICE", overflow="fold")
    table.add_column("STATE", no_wrap=True)
    for name in ("TOK/S", "SEQS", "CACHE", "HITS", "MEMORY"):
        table.add_column(name, justify="right", no_wrap=True)
    for worker in workers:
        table.add_row(
            _name(worker),
            harmless(worker.model),
            harmless(
                f"{worker.device} {figures.number_format(worker.dtype, worker.quantize)}"
                + ("" if worker.compiled else " eager")
            ),
            worker.state,
            figures.rate(worker.output_throughput),
            f"{worker.running}+{worker.waiting}",
            figures.percent(worker.kv_cache_usage),
            figures.percent(worker.prefix_cache_hit_rate),
            figures.size(worker.peak_memory_bytes),
        )
    return table


def _name(worker: WorkerReport) -> str:
    return harmless(f"{worker.host}:{worker.pid}")
