"""`qwen-batch bench`"""

from __future__ import annotations

import click

from cli.console.console import Console
from cli.options.options import json_option, pass_console, settings_with, verbosity_options
from cli.options.target_model import say_if_demo
from cli.options.worker_options import worker_options
from cli.worker_packages import require_worker_packages


@click.command(name="bench")
@click.option("--only", type=click.Choice(["table", "batch"]), help="Measure only this part.")
@click.option("--tokens", type=click.IntRange(2), default=41, show_default=True, help="New tokens a run of the table.")
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True, help="Timed runs a row.")
@click.option("--requests", type=click.IntRange(1), default=64, show_default=True, help="Requests of the batch.")
@worker_options
@json_option
@verbosity_options
@pass_console
def command(
    console: Console,
    /,
    *,
    only: str | None,
    tokens: int,
    runs: int,
    requests: int,
    as_json: bool,
    **options: object,
) -> None:
    """Measure this machine: the book's table 2.1, and a full batch.

    The table generates greedily for one prompt in four ways; the batch runs
    many random requests through the engine. The warm-up, which compiles, is
    reported apart from the timed runs; rates are of the median run. In
    bfloat16 on a CPU, what the machine's memory and arithmetic allow at most
    stands beside them.

    \b
    Examples:
      qwen-batch bench
      qwen-batch bench --model Qwen/Qwen3-0.6B --only batch
      qwen-batch bench --json > figures.json
    """
    require_worker_packages()
    from cli.offline.bench import run_bench
    from cli.offline.bench_report import bench_tables

    settings = settings_with(**options)
    say_if_demo(settings, console)
    report = run_bench(settings, console, only=only, tokens=tokens, runs=runs, requests=requests)
    if as_json:
        console.json(report)
        return
    for table in bench_tables(report):
        console.show(table)
