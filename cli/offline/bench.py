"""The measurements of `qwen-batch bench`."""

from __future__ import annotations

import gc
import platform
from dataclasses import dataclass, replace
from functools import partial

import torch

from cli.console.console import Console
from cli.offline.batch_throughput import BatchFigures, measure_batch, random_workload
from cli.offline.chapter_table import MODES, ModeFigures, measure_modes
from cli.offline.local_model import LocalModel, load_local_model
from cli.offline.machine_speed import measure_machine
from cli.offline.roofline import MachineSpeed, ModelCost, batch_limit, decode_limit
from engine.config import ResolvedConfig
from engine.execution.kernels import device_description
from engine.execution.short_thread import on_a_short_thread
from engine.load import load_engine
from jobs.settings import Settings
from jobs.stats.figures import rate
from model.checkpoint.config import ModelConfig
from model.checkpoint.hub import resolve_model
from worker.engine_options import engine_config

WARM_UP_SEED = 1  # not that of the measured prompts
CHAPTER_PROMPT = "Explain large language models in a single sentence."


@dataclass(frozen=True)
class Limits:
    """Maximum tokens per second, computed from the machine's measured speeds."""

    machine: MachineSpeed
    one_stream: float
    batch: float | None  # None: no batch was run, or its products are not in bfloat16, whose speed is measured


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
    config = replace(engine_config(settings), speculate=False)  # completions of random prompts repeat themselves
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
            warm_up = random_workload(max(2, requests // 8), loaded.tokenizer.vocab_size, WARM_UP_SEED)
            measure_batch(loaded, warm_up)  # other prompts, which the prefix cache then does not know
            batch, compile_seconds = measure_batch(loaded, workload), loaded.compile_seconds
        finally:  # Python would abort if it ended during a step
            loaded.engine.shutdown()
    console.say("The machine: memory and matrix products …")
    limits = on_a_short_thread(lambda: _measure_limits(model_config, resolved, batch))
    return BenchReport(
        model=settings.model,
        device=device_description(resolved.device),
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
    times = "1 run" if runs == 1 else f"{runs} runs"
    console.say(f"Table 2.1: {len(MODES)} modes, {times} of {tokens} tokens each, after a warm-up …")
    prompt = local.tokenizer.encode(CHAPTER_PROMPT)
    for row in measure_modes(local, prompt, tokens, runs, console.say, may_compile=may_compile):
        table.append(row)
        console.say(f"  {row.mode}: {rate(row.tokens_per_second)} tokens/s")


def _measure_limits(model: ModelConfig, resolved: ResolvedConfig, batch: BatchFigures | None) -> Limits | None:
    """Measure the machine, which takes some seconds. Returns None if there are no limits for the device or the dtype.

    The call sets PyTorch's number of threads, so no other parallel work may follow on the same thread.
    """
    if resolved.device != "cpu" or resolved.dtype != "bfloat16":
        return None
    machine, cost = measure_machine(resolved.threads), ModelCost.of_model(model, resolved.quantize)
    of_batch = _of_batch(cost, machine, batch) if batch and resolved.quantize == "none" else None
    return Limits(machine, decode_limit(cost, machine, batch=1), of_batch)


def _of_batch(cost: ModelCost, machine: MachineSpeed, batch: BatchFigures) -> float:
    lengths = {"input_tokens": batch.input_tokens, "output_tokens": batch.output_tokens}
    return batch_limit(cost, machine, **lengths, longest_output=batch.longest_output)
