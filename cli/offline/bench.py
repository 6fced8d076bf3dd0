"""The measurements of `qwen-batch bench`."""

from __future__ import annotations

import gc
import platform
from dataclasses import dataclass
from functools import partial

import torch

from cli.console.console import Console
from cli.console.figures import rate
from cli.offline.batch_throughput import BatchFigures, measure_batch, random_workload
from cli.offline.chapter_table import MODES, ModeFigures, measure_modes
from cli.offline.limits import Limits, measure_limits
from cli.offline.local_model import LocalModel, load_local_model
from engine.execution.short_thread import on_a_short_thread
from engine.load import load_engine
from jobs.settings import Settings
from model.checkpoint.hub import resolve_model
from worker.engine_options import engine_config

CHAPTER_PROMPT = "Explain large language models in a single sentence."


@dataclass(frozen=True)
class BenchReport:
    """All figures, with the settings and versions that they depend on."""

    model: str
    device: str
    dtype: str
    quantize: str
    threads: int
    machine: str
    torch_version: str
    table: tuple[ModeFigures, ...]
    batch: BatchFigures | None
    batch_compile_seconds: float | None
    limits: Limits | None


def run_bench(
    settings: Settings, console: Console, *, only: str | None, tokens: int, runs: int, requests: int
) -> BenchReport:
    """Run the requested measurements. Progress goes to stderr.

    Raises:
        InvalidInput: This machine or model does not support a setting.
        ModelUnusable: The model cannot be loaded.
    """
    folder = resolve_model(settings.model, show_progress=not console.quiet)
    config = engine_config(settings)
    local = on_a_short_thread(lambda: load_local_model(folder, config, console.say))
    resolved, model_config = local.resolved, local.model.config
    table: list[ModeFigures] = []
    if only != "batch":
        on_a_short_thread(partial(_fill_table, table, local, console, tokens, runs, settings.compile))
    del local
    gc.collect()
    batch = compile_seconds = None
    if only != "table":
        console.say(f"Batch: {requests} random requests …")
        loaded = load_engine(folder.path, config, log=console.say)
        try:
            workload = random_workload(requests, loaded.tokenizer.vocab_size)
            measure_batch(loaded, workload[: max(2, requests // 8)])  # warm-up
            batch, compile_seconds = measure_batch(loaded, workload), loaded.compile_seconds
        finally:  # Python would abort if it ended during a step
            loaded.engine.shutdown()
    console.say("The machine: memory and matrix products …")
    limits = on_a_short_thread(lambda: measure_limits(model_config, resolved, batch))
    return BenchReport(
        model=settings.model,
        device=resolved.device,
        dtype=resolved.dtype,
        quantize=resolved.quantize,
        threads=resolved.threads,
        machine=f"{platform.machine()} {platform.system()}",
        torch_version=str(torch.__version__),  # a subclass of str, which msgspec cannot encode
        table=tuple(table),
        batch=batch,
        batch_compile_seconds=compile_seconds,
        limits=limits,
    )


def _fill_table(
    table: list[ModeFigures], local: LocalModel, console: Console, tokens: int, runs: int, may_compile: bool
) -> None:
    console.say(f"Table 2.1: {len(MODES)} modes, {runs} runs of {tokens} tokens each, after a warm-up …")
    prompt = local.tokenizer.encode(CHAPTER_PROMPT)
    for row in measure_modes(local, prompt, tokens, runs, console.say, may_compile=may_compile):
        table.append(row)
        console.say(f"  {row.mode}: {rate(row.tokens_per_second)} tokens/s")
