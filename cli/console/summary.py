"""The summary at a job's end: the job's statistics as tables."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from jobs.harmless import harmless
from jobs.stats import figures
from jobs.stats.cache_room import CacheRoom
from jobs.stats.stats import JobStats, WorkerShare


def summary_of(stats: JobStats, num_serving: int | None = None) -> RenderableType:
    """Return the figures of `status --json` as tables of at most 80 columns.

    Args:
        num_serving: Number of live workers that serve the job's model. None if it is unknown.
    """
    parts: list[RenderableType] = [_facts(stats, waits=num_serving == 0 and not stats.state.ended)]
    if stats.mean_e2el_ms is not None:
        parts += ["", _latencies(stats)]
    if stats.workers:
        parts += ["", _workers(stats.workers)]
    return Group(*parts)


def _facts(stats: JobStats, waits: bool) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in _fact_rows(stats, waits):
        grid.add_row(label, text)
    return grid


def _fact_rows(stats: JobStats, waits: bool) -> list[tuple[str, str]]:
    rows = [
        ("Job", harmless(stats.id)),
        ("State", stats.state.value + _pending_request(stats) + (", no worker serves the model" if waits else "")),
        ("Model", harmless(stats.model)),
        ("Prompts", harmless(stats.source)),
        ("Lines", _lines(stats)),
        ("Tokens", _tokens(stats)),
        ("Throughput", _throughput(stats)),
        ("Duration", _duration(stats)),
        ("Before that", _before(stats)),
        ("Engine", f"{figures.seconds(stats.prefill_seconds)} prefill, {figures.seconds(stats.decode_seconds)} decode"),
        ("Batch", _batch(stats)),
    ]
    if stats.draft_acceptance is not None:
        rows.append(("Guesses", f"{figures.percent(stats.draft_acceptance)} of the guessed tokens were right"))
    if (advice := _cache_advice(stats)) is not None:
        rows.append(("Cache", advice))
    if (mixture := _mixture(stats)) is not None:
        rows.append(("Mixture", mixture))
    if stats.finish_reasons:
        reasons = sorted(stats.finish_reasons.items())
        rows.append(("Ended by", ", ".join(f"{harmless(name)} {figures.count(number)}" for name, number in reasons)))
    if stats.error_codes:
        codes = stats.error_codes.items()
        rows.append(("Errors", ", ".join(f"{harmless(code)} {figures.count(number)}" for code, number in codes)))
    if stats.retried_shards:
        rows.append(("Retried", f"{figures.count(stats.retried_shards)} shards"))
    if stats.error:
        rows.append(("Error", harmless(stats.error)))
    return rows


def _pending_request(stats: JobStats) -> str:
    if stats.state.ended:
        return ""
    return ", cancel requested" if stats.cancel_requested else ", paused" if stats.paused else ""


def _lines(stats: JobStats) -> str:
    text = f"{figures.count(stats.completed)} of {figures.count(stats.total)} completed"
    reused = f" ({figures.count(stats.reused)} reused)" if stats.reused else ""
    return text + reused + (f", {figures.count(stats.failed)} failed" if stats.failed else "")


def _throughput(stats: JobStats) -> str:
    if stats.output_throughput is None:
        return "-"
    return (
        f"{figures.rate(stats.output_throughput)} output tokens/s "
        f"({figures.rate(stats.total_token_throughput)} with input), {figures.rate(stats.request_throughput)} lines/s"
    )


def _duration(stats: JobStats) -> str:
    work, wall = stats.duration_seconds, stats.wall_seconds
    if work is None or wall is None:
        return "-"
    text = f"{figures.seconds(wall)} from first step to last line"
    if wall - work < max(wall / 10, 1.0):  # such a difference tells nobody that the job stood still
        return text
    return f"{figures.seconds(work)} in which a worker ran it; {text}"


def _before(stats: JobStats) -> str:
    if stats.queue_seconds is None:
        return "-"
    queue = f"{figures.seconds(stats.queue_seconds)} in the queue"
    if not stats.workers:  # no worker has finished a shard
        return queue
    return f"{queue}; load {figures.seconds(stats.load_seconds)}, compile {figures.seconds(stats.compile_seconds)}"


def _tokens(stats: JobStats) -> str:
    cached = f" ({figures.count(stats.cached_tokens)} from the prefix cache)" if stats.cached_tokens else ""
    thought = f" ({figures.count(stats.reasoning_tokens)} of thoughts)" if stats.reasoning_tokens else ""
    tokens_in, tokens_out = figures.count(stats.total_input_tokens), figures.count(stats.total_output_tokens)
    return f"{tokens_in} in{cached}, {tokens_out} out{thought}"


def _batch(stats: JobStats) -> str:
    if stats.mean_batch_size is None:
        return "-"
    peak = figures.percent(stats.kv_cache_usage_peak)
    return f"{stats.mean_batch_size:.1f} sequences on average; cache at most {peak} full"


def _cache_advice(stats: JobStats) -> str | None:
    """Return advice if the KV cache was too small, else None."""
    share, running, waiting = stats.cache_short_share, stats.cache_short_running, stats.cache_short_waiting
    if share is None or running is None or waiting is None:
        return None
    room = CacheRoom(running, waiting, stats.kv_cache_bytes_wanted or 0, share)
    return f"{room.advice} It was short in {figures.percent(share)} of the steps." if room.is_short else None


def _mixture(stats: JobStats) -> str | None:
    """Return what makes the texts of equal lines differ: workers of several kinds. None if all are of one kind."""
    if 0 < stats.quantized_lines < stats.completed:
        return f"{figures.count(stats.quantized_lines)} completions come from 8-bit weights, the others do not"
    kinds = sorted({f"{worker.device} {worker.dtype}" for worker in stats.workers})
    if len(kinds) < 2:
        return None
    return f"equal lines may have different texts, because the workers differ: {harmless(', '.join(kinds))}"


def _latencies(stats: JobStats) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Latency of a line")
    for name in ("mean", "median", "p99"):
        table.add_column(name, justify="right")
    for label, key in (("first token", "ttft"), ("each further token", "tpot"), ("whole line", "e2el")):
        values = [getattr(stats, f"{which}_{key}_ms") for which in ("mean", "median", "p99")]
        table.add_row(label, *[figures.milliseconds(value) for value in values])
    return table


def _workers(workers: tuple[WorkerShare, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Worker", overflow="fold")
    table.add_column("device", overflow="fold")
    for name in ("dtype", "compiled"):
        table.add_column(name, no_wrap=True)
    for name in ("out tokens", "peak memory"):
        table.add_column(name, justify="right", no_wrap=True)
    for worker in workers:
        table.add_row(
            harmless(worker.worker_id),
            harmless(worker.device),
            harmless(figures.number_format(worker.dtype, worker.quantize)),
            "yes" if worker.compiled else "no",
            figures.count(worker.output_tokens),
            figures.size(worker.peak_memory_bytes),
        )
    return table
