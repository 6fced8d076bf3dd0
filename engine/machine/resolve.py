"""Resolution of the user's settings for this machine. All automatic values are chosen here, once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch

from engine.config import PAGE_SIZE, EngineConfig, ResolvedConfig
from engine.machine.machine import Machine
from engine.machine.memory_needs import step_bytes, weight_bytes
from engine.scheduling.policy import SchedulingPolicy
from jobs.byte_size import format_bytes
from jobs.errors import InvalidInput, ModelUnusable
from model.checkpoint.config import ModelConfig
from model.kv_cache import bytes_per_page

TORCH_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

MAX_NUM_SEQS = {"cpu": 64, "mps": 64, "cuda": 256}
MAX_BATCHED_TOKENS = {"cpu": 1024, "mps": 1024, "cuda": 8192}  # matrix products reach full speed well below these sizes

SHARED_MEMORY_SHARE = 0.25  # the cache's share of memory left after the weights, if other programs use that memory
CUDA_MEMORY_SHARE = 0.9  # usable share of GPU memory; the rest is for libraries and allocator fragmentation


def resolve(
    config: EngineConfig,
    model: ModelConfig,
    machine: Machine,
    log: Callable[[str], None] = lambda _: None,
    *,
    fast_bfloat16: bool = True,
) -> ResolvedConfig:
    """Check the user's settings and replace the automatic ones by values for this machine.

    Args:
        config: The user's settings.
        model: The model to run.
        machine: The machine's resources.
        log: Called with a message if the checkpoint's type is not used, or if the model's context is shortened.
        fast_bfloat16: True if products in bfloat16 run well on the device (see `bfloat16_is_fast`).

    Raises:
        InvalidInput: This machine or this model does not support a setting.
        ModelUnusable: The memory left is too small for weights and cache.
    """
    device = choose_device(config, machine)
    kind = device.partition(":")[0]
    if model.experts is not None and kind != "cpu":
        raise InvalidInput(
            f"This model is a mixture of experts, which runs only on CPUs so far; the device is {kind}.",
            "Set `--device cpu`.",
        )
    dtype = _dtype(config, model, kind, fast_bfloat16)
    policy = _policy(config, kind)
    asked_len = _asked_len(config, model)
    page_bytes = bytes_per_page(model, PAGE_SIZE, TORCH_DTYPES[dtype])
    weights = weight_bytes(model, TORCH_DTYPES[dtype], config.quantize, packed=kind == "cpu")
    step = step_bytes(model, TORCH_DTYPES[dtype], policy.max_batched_tokens, policy.max_running, asked_len)
    budget = _cache_budget(config, kind, machine, weights, step)
    enough = 1 + policy.max_num_seqs * math.ceil(asked_len / PAGE_SIZE)
    num_pages = min(budget // page_bytes, enough)
    widened = _is_widened(config, model, dtype)
    _check_memory(kind, machine, weights, num_pages * page_bytes, widened=widened)
    if widened:
        log(
            "Running in float32: this machine has no fast kernel for bfloat16, the checkpoint's type. "
            "`--dtype bfloat16` is slower and takes half the memory."
        )
    return ResolvedConfig(
        device=device,
        dtype=dtype,
        quantize=config.quantize,
        compile=config.compile,
        policy=policy,
        max_model_len=_fitting_len(config, asked_len, num_pages, page_bytes, log),
        num_pages=num_pages,
        threads=_positive("threads", config.threads, machine.cores),
        # With experts, a guessed token is not cheap: it reads the weights of experts of its own.
        speculate=config.speculate and kind == "cpu" and model.experts is None,
    )


def choose_device(config: EngineConfig, machine: Machine) -> str:
    """Return the device to run on: "cpu", "cuda:0" or "mps".

    MPS must be asked for. It has never been tried, and the CPU's kernels have tests.

    Raises:
        InvalidInput: The requested device does not exist.
    """
    has_cuda = machine.cuda_memory_left_bytes is not None
    if config.device == "auto":
        return "cuda:0" if has_cuda else "cpu"
    present = {"cpu": True, "cuda": has_cuda, "mps": machine.has_mps}[config.device]
    if not present:
        raise InvalidInput(
            f"The device {config.device} is not available: PyTorch finds none on this machine.",
            "Use `--device auto`, or install the PyTorch build for that device.",
        )
    return "cuda:0" if config.device == "cuda" else config.device


def _dtype(config: EngineConfig, model: ModelConfig, kind: str, fast_bfloat16: bool) -> Literal["float32", "bfloat16"]:
    if config.quantize == "none":
        automatic = model.dtype if fast_bfloat16 else "float32"
        return automatic if config.dtype == "auto" else config.dtype
    if kind != "cpu":
        raise InvalidInput(
            f"`quantize` is {config.quantize}, which runs only on CPUs; the device is {kind}.",
            "Leave `--quantize` out, or set `--device cpu`.",
        )
    if config.dtype == "float32":
        raise InvalidInput(
            f"`quantize` is {config.quantize} and `dtype` is float32; quantised weights need bfloat16.",
            "Remove one of the two options.",
        )
    return "bfloat16"


def _policy(config: EngineConfig, kind: str) -> SchedulingPolicy:
    return SchedulingPolicy(
        max_num_seqs=_positive("max_num_seqs", config.max_num_seqs, MAX_NUM_SEQS[kind]),
        max_batched_tokens=_positive("max_batched_tokens", config.max_batched_tokens, MAX_BATCHED_TOKENS[kind]),
        max_mixed_tokens=config.max_mixed_tokens,
        prefix_caching=config.prefix_caching,
    )


def _asked_len(config: EngineConfig, model: ModelConfig) -> int:
    """Return the context length that the user asks for: by default, the model's."""
    asked_len = _positive("max_model_len", config.max_model_len, model.max_position_embeddings)
    if asked_len > model.max_position_embeddings:
        raise InvalidInput(
            f"max_model_len is {asked_len:,}; this model takes 2 to {model.max_position_embeddings:,} tokens."
        )
    return asked_len


def _is_widened(config: EngineConfig, model: ModelConfig, dtype: str) -> bool:
    """Return True if weights take more memory than in the checkpoint although the user did not ask for it."""
    return config.dtype == "auto" and dtype == "float32" != model.dtype


def _cache_budget(config: EngineConfig, kind: str, machine: Machine, weights: int, step: int) -> int:
    """Return the bytes for the cache, after weights and, on a GPU, a step's own tensors are subtracted."""
    if config.kv_cache_memory_bytes is not None:
        return config.kv_cache_memory_bytes
    left = _memory_left(kind, machine)
    if kind == "cuda":
        return max(0, int(left * CUDA_MEMORY_SHARE) - weights - step)
    return max(0, int((left - weights) * SHARED_MEMORY_SHARE))


def _memory_left(kind: str, machine: Machine) -> int:
    """Return the free bytes of the device. MPS shares the machine's memory."""
    return (machine.cuda_memory_left_bytes or 0) if kind == "cuda" else machine.memory_left_bytes


def _check_memory(kind: str, machine: Machine, weights: int, cache: int, *, widened: bool) -> None:
    left = _memory_left(kind, machine)
    if weights + cache > left:
        raise ModelUnusable(
            f"The weights take {format_bytes(weights)} and the KV cache {format_bytes(cache)}, but only "
            f"{format_bytes(left)} of memory is free.",
            "Free memory, use a smaller model, or set a smaller `--kv-cache-memory`"
            + (", or `--dtype bfloat16`, which is slower here and takes half the memory." if widened else "."),
        )


def _fitting_len(
    config: EngineConfig, asked_len: int, num_pages: int, page_bytes: int, log: Callable[[str], None]
) -> int:
    """Return the context length that the cache can hold for a single sequence.

    The length is cut, with a log message, only if the user did not set `max_model_len`.

    Raises:
        InvalidInput: The cache cannot hold the user's `max_model_len`.
        ModelUnusable: The cache holds fewer than two pages.
    """
    fits = (num_pages - 1) * PAGE_SIZE
    if fits >= asked_len:
        return asked_len
    has, needs = format_bytes(max(0, num_pages) * page_bytes), format_bytes((asked_len // PAGE_SIZE + 2) * page_bytes)
    if fits <= 0:
        raise ModelUnusable(
            f"The KV cache can have only {has}, but it needs at least 2 pages of {PAGE_SIZE} tokens, "
            f"{format_bytes(page_bytes)} each.",
            "Free memory, or set a larger `--kv-cache-memory`.",
        )
    if config.max_model_len is not None:
        raise InvalidInput(
            f"A KV cache of {has} holds {fits:,} tokens; max_model_len {asked_len:,} needs {needs}.",
            f"Set `--max-model-len` to at most {fits}, or `--kv-cache-memory` to at least {needs}.",
        )
    log(
        f"The context is limited to {fits:,} of the model's {asked_len:,} tokens: a KV cache of {has} holds no more "
        "(set `--kv-cache-memory`)."
    )
    return fits


def _positive(name: str, asked: int | None, automatic: int) -> int:
    lowest = 2 if name == "max_model_len" else 1
    if asked is not None and asked < lowest:
        raise InvalidInput(f"{name} is {asked}; it must be at least {lowest}.")
    return automatic if asked is None else asked
