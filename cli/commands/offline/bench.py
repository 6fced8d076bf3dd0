"""The command `qwen-batch bench`."""

from __future__ import annotations

import click

from cli.console.console import Console
from cli.options.options import WholeNumber, console_options, json_option, settings_with
from cli.options.target_model import say_if_demo
from cli.options.worker_options import require_worker_packages, worker_options


@click.command(name="bench")
@click.option("--only", type=click.Choice(["table", "batch"]), help="Measure only this part.")
@click.option(
    "--tokens", metavar="N", type=WholeNumber(2), default=41, show_default=True, help="New tokens per run of the table."
)
@click.option(
    "--runs", metavar="N", type=WholeNumber(1), default=3, show_default=True, help="Timed runs per row of the table."
)
@click.option(
    "--requests", metavar="N", type=WholeNumber(1), default=64, show_default=True, help="Requests in the batch."
)
@worker_options
@json_option
@console_options
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
    """Measure the speed of a model on this machine.

    The report has two parts. The table is table 2.1 of the book "Build a
    Reasoning Model (From Scratch)": one prompt is completed greedily, in four
    ways. The batch is many random requests in the engine. Rates are from the
    median run; the warm-up, which compiles, is reported separately. In bfloat16
    on a CPU, the report also has the maximum that memory and arithmetic allow.

    \b
    Examples:
      qwen-batch bench
      qwen-batch bench --model Qwen/Qwen3-0.6B --only batch
      qwen-batch bench --json > figures.json
    """
    require_worker_packages()
    settings = settings_with(**options)
    from cli.offline.bench import run_bench  # imports torch, which takes seconds
    from cli.offline.bench_report import bench_tables

    say_if_demo(settings, console)
    report = run_bench(settings, console, only=only, tokens=tokens, runs=runs, requests=requests)
    if as_json:
        console.json(report)
        return
    for table in bench_tables(report):
        console.show(table)
