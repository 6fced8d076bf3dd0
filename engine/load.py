"""Loading a model folder into a started engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.config import PAGE_SIZE, EngineConfig, ResolvedConfig
from engine.engine import Engine
from engine.execution.compilation import keep_compile_cache
from engine.execution.kernels import bfloat16_is_fast, device_description, load_kernels_for
from engine.execution.model_runner import ModelRunner
from engine.execution.short_thread import on_a_short_thread
from engine.machine.machine import Machine
from engine.machine.resolve import TORCH_DTYPES, choose_device, resolve
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.scheduler import Scheduler
from model.checkpoint.config import ModelConfig
from model.checkpoint.generation_config import GenerationConfig
from model.checkpoint.quantised.settings import FORMAT_NAMES, WeightFormat
from model.kv_cache import bytes_per_page
from model.memory.peak_memory import peak_memory_bytes
from model.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class LoadedEngine:
    """A started engine with its tokenizer, settings and load times."""

    engine: Engine
    tokenizer: Tokenizer
    model_config: ModelConfig
    resolved: ResolvedConfig
    eos_token_ids: tuple[int, ...]
    device: str  # to show to people: "cpu (avx512)", "cuda:0 (NVIDIA H100)"
    compiled: bool
    load_seconds: float  # without compilation
    compile_seconds: float
    kv_cache_bytes: int

    def peak_memory_bytes(self) -> int:
        """Return the peak memory so far: GPU memory on CUDA, else memory of the whole process."""
        return peak_memory_bytes(self.resolved.device)


def load_engine(
    folder: Path,
    config: EngineConfig,
    *,
    log: Callable[[str], None],
    on_death: Callable[[BaseException], None] = lambda _: None,
    progress: Callable[[str], None] = lambda _: None,
) -> LoadedEngine:
    """Load a model, compile it and start an engine for it. Engines are started nowhere else.

    Args:
        folder: A checkpoint in the layout of transformers, with its tokenizer.
        config: The user's settings.
        log: Called with each message for the user.
        on_death: See `Engine`.
        progress: Called with what happens next, such as "reading the weights", before each step that may take long.

    Raises:
        InvalidInput: This machine or this model does not support a setting.
        ModelUnusable: The folder cannot be loaded, or the memory left is too small for the weights and a KV cache.
    """
    started_at = time.monotonic()
    progress("reading the tokenizer")
    keep_compile_cache()
    tokenizer = Tokenizer.from_folder(folder)
    model_config = ModelConfig.from_folder(folder)
    eos_token_ids = tuple(GenerationConfig.from_folder(folder).eos_token_ids)
    resolved, has_kernels = set_up_machine(config, model_config, log, progress)
    if model_config.weight_format != "plain":
        log(_weights_run_in(resolved, model_config.weight_format))
    vocab_limit = tokenizer.vocab_size
    progress("reading the weights")
    runner = on_a_short_thread(
        lambda: ModelRunner.from_folder(folder, resolved, vocab_limit=vocab_limit, has_kernels=has_kernels, log=log)
    )
    loaded_at = time.monotonic()
    progress("compiling the model" if resolved.compile else "running the first steps")
    compile_seconds = on_a_short_thread(runner.warm_up)
    page_allocator = PageAllocator(resolved.num_pages, PAGE_SIZE)
    engine = Engine(
        scheduler=Scheduler(page_allocator, resolved.policy, mixes=runner.mixes, row_cost=runner.row_cost),
        runner=runner,
        detokenizer=tokenizer,
        eos_token_ids=eos_token_ids,
        max_model_len=resolved.max_model_len,
        on_death=on_death,
    )
    engine.start()
    return LoadedEngine(
        engine=engine,
        tokenizer=tokenizer,
        model_config=model_config,
        resolved=resolved,
        eos_token_ids=eos_token_ids,
        device=device_description(resolved.device),
        compiled=runner.compiled,
        load_seconds=loaded_at - started_at,
        compile_seconds=compile_seconds,
        kv_cache_bytes=resolved.num_pages * bytes_per_page(model_config, PAGE_SIZE, TORCH_DTYPES[resolved.dtype]),
    )


def _weights_run_in(resolved: ResolvedConfig, format: WeightFormat) -> str:
    """Return the line that says what becomes of quantised weights."""
    stored = f"The checkpoint's weights are quantised ({FORMAT_NAMES[format]}). They are decoded while they load and"
    if resolved.quantize != "none":
        return f"{stored} run in {resolved.quantize}."
    less = " `--quantize int8` and `--quantize int4` take less memory." if resolved.device == "cpu" else ""
    return f"{stored} run in {resolved.dtype}.{less}"


def set_up_machine(
    config: EngineConfig,
    model: ModelConfig,
    log: Callable[[str], None],
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[ResolvedConfig, bool]:
    """Load the device's kernels, then resolve the automatic settings.

    The kernels come first because some settings depend on them. Arguments and errors are those of `resolve`.
    `progress` is that of `load_kernels_for`.

    Returns:
        The resolved settings, and True if this project's own kernels are loaded.
    """
    machine = Machine.inspect()
    device = choose_device(config, machine)
    has_kernels = load_kernels_for(device, log, progress)
    resolved = resolve(config, model, machine, log, fast_bfloat16=bfloat16_is_fast(device))
    return resolved, has_kernels
