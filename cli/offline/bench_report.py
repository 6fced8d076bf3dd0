"""The figures of `qwen-batch bench` as tables, with the book's figures beside them."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from cli.offline.batch_throughput import BatchFigures
from cli.offline.bench import BenchReport, Limits
from jobs.stats.figures import count, number_format, percent, rate, seconds, size

# Table 2.1 of "Build a Reasoning Model (From Scratch)", Qwen3 0.6B, one prompt: tokens/s, and GB on the H100.
BOOK = {
    "regular": ("5", "17", "51", "1.55"),
    "regular compiled": ("6", "fails", "164", "1.81"),
    "KV cache": ("28", "18", "48", "1.52"),
    "KV cache compiled": ("68", "fails", "141", "1.81"),
}


def bench_tables(report: BenchReport) -> Iterator[Table]:
    """Return the report as tables of at most 80 columns."""
    if report.table:
        yield _chapter_table(report)
    if report.batch is not None:
        yield _batch_table(report.batch, report.batch_compile_seconds)
    if report.limits is not None:
        yield _limits_table(report, report.limits)


def _chapter_table(report: BenchReport) -> Table:
    numbers = number_format(report.dtype, report.quantize)
    table = Table(title=f"Table 2.1 · {report.model} · {report.device}, {numbers}, {report.threads} threads")
    table.add_column("mode", no_wrap=True)
    for name in ("tok/s", "memory", "warm-up"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("M4 CPU", "M4 GPU", "H100", "GB"):
        table.add_column(name, justify="right", style="dim")
    for row in report.table:
        figures = (
            ("-", "-", "-")
            if row.tokens_per_second is None
            else (rate(row.tokens_per_second), size(row.peak_memory_bytes), seconds(row.warm_up_seconds))
        )
        table.add_row(row.mode, *figures, *BOOK[row.mode])
    recompiles = sum(row.recompiles for row in report.table)
    table.caption = f"Right half: the book's figures for Qwen3 0.6B.\nRecompilations after the warm-up: {recompiles}."
    return table


def _limits_table(report: BenchReport, limits: Limits) -> Table:
    reads, products = limits.machine.read_bytes_per_second / 1e9, limits.machine.flop_per_second / 1e9
    table = Table(title=f"Limits · {reads:,.0f} GB/s read, {products:,.0f} GFLOP/s")
    table.add_column("tokens/s", no_wrap=True)
    for name in ("limit", "reached", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    stream = max((row.tokens_per_second or 0.0 for row in report.table), default=0.0)
    if stream:
        table.add_row(
            "one stream, best mode", rate(limits.one_stream), rate(stream), percent(stream / limits.one_stream)
        )
    if report.batch is not None and limits.batch is not None:
        reached = report.batch.output_throughput
        table.add_row("batch", rate(limits.batch), rate(reached), percent(reached / limits.batch))
    return table


def _batch_table(batch: BatchFigures, compile_seconds: float | None) -> Table:
    table = Table(title=f"Batch · {count(batch.requests)} requests, all at once", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_row("output tokens/s", rate(batch.output_throughput))
    table.add_row("input, output tokens", f"{count(batch.input_tokens)}, {count(batch.output_tokens)}")
    table.add_row("wall time", seconds(batch.seconds))
    table.add_row("prefill, decode", f"{seconds(batch.prefill_seconds)}, {seconds(batch.decode_seconds)}")
    table.add_row("mean batch size", rate(batch.mean_batch_size))
    table.add_row("compilation, apart", seconds(compile_seconds))
    return table
