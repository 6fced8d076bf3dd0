"""Measures table 2.1 of the book on this machine: four ways to generate for one prompt."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from cli.offline.local_model import LocalModel
from model.generate import generate_text_basic, generate_text_basic_cache
from model.memory.peak_memory import peak_memory_bytes

Generate = Callable[..., torch.Tensor]

MODES: tuple[tuple[str, Generate, bool], ...] = (
    ("regular", generate_text_basic, False),
    ("regular compiled", generate_text_basic, True),
    ("KV cache", generate_text_basic_cache, False),
    ("KV cache compiled", generate_text_basic_cache, True),
)


@dataclass(frozen=True)
class ModeFigures:
    """One row of the table: a way to generate.

    Rates are from the median run. The warm-up, which compiles, is not counted.
    """

    mode: str
    tokens_per_second: float | None  # None if the mode cannot run on this machine
    warm_up_seconds: float
    peak_memory_bytes: int  # peak of the device's memory; on a CPU, peak of the process
    recompiles: int  # graphs compiled after the warm-up


def measure_modes(
    local: LocalModel,
    token_ids: list[int],
    num_tokens: int,
    runs: int,
    log: Callable[[str], None],
    *,
    may_compile: bool = True,
) -> Iterator[ModeFigures]:
    """Measure each mode in turn. A warm-up run precedes each measurement.

    Args:
        local: The model. The call may leave its layers compiled.
        token_ids: The prompt.
        num_tokens: New tokens per run. Runs ignore the end of text, so that all have this length.
        runs: Timed runs per mode.
        log: Called with the reason if the layers cannot be compiled.
        may_compile: If False, the compiled modes have no figures.
    """
    prompt = torch.tensor([token_ids], device=local.model.device)
    for mode, generate, wants_compile in MODES:
        if local.compile_layers(wants_compile and may_compile, log) != wants_compile:
            yield ModeFigures(mode, None, 0.0, 0, 0)
            continue
        _reset_peak_memory()
        warm_up_seconds = _timed(local, generate, prompt, num_tokens)
        graphs = _compiled_graphs()
        seconds = statistics.median(_timed(local, generate, prompt, num_tokens) for _ in range(runs))
        peak = peak_memory_bytes(local.resolved.device)
        yield ModeFigures(mode, num_tokens / seconds, warm_up_seconds, peak, recompiles=_compiled_graphs() - graphs)


def _timed(local: LocalModel, generate: Generate, prompt: torch.Tensor, num_tokens: int) -> float:
    started_at = time.perf_counter()
    generate(local.model, prompt, num_tokens)
    if prompt.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started_at


def _compiled_graphs() -> int:
    from torch._dynamo.utils import counters  # the compiler takes a second to import

    return int(counters["stats"]["unique_graphs"])


def _reset_peak_memory() -> None:
    """Reset the peak memory of CUDA's allocator, or of this process on Linux (proc(5), clear_refs)."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    clear_refs = Path("/proc/self/clear_refs")
    if clear_refs.exists():
        clear_refs.write_text("5")
