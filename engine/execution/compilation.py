"""Compiled layers: their choice for this machine, and the cache folder of `torch.compile`."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path

import torch

from model.compiled_layer import CompiledLayer
from model.fused_layers import FusedLayers, can_fuse
from model.kernels.tiers import Processor
from model.layers import LayersFn, layer_by_layer
from model.qwen3 import Qwen3ForCausalLM, decoder_layer

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that keeps this user's compiled code between starts."""
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "qwen-batch"


def keep_compile_cache(environ: MutableMapping[str, str] = os.environ) -> Path:
    """Keep compiled code in a permanent folder, shared by all workers of this user. Returns the folder.

    PyTorch's default is the machine's temporary folder, which a restart or a clean-up empties. Call this before
    anything is compiled. A folder that the environment variable already names stays in use.

    Each kind of processor has a folder of its own. Machines may share a home folder, and PyTorch compiles for exactly
    the processor that runs it.
    """
    folder = cache_folder(environ) / "inductor" / Processor.inspect().fingerprint
    return Path(environ.setdefault(CACHE_VARIABLE, str(folder)))


def compiled_layers(model: Qwen3ForCausalLM, log: Callable[[str], None]) -> LayersFn | None:
    """Return the fastest compiled function for a model's layers, or None if only plain layers can run.

    Our C++ kernels run all layers in one call. Without them, `torch.compile` compiles a layer in the first step.

    Args:
        model: The model, with its weights packed.
        log: Called with the reason if the result is None.
    """
    if can_fuse(model.weights.layers):
        return FusedLayers(model.weights.layers)
    obstacle = compile_obstacle(model.device.type)
    if obstacle is not None:
        log(f"Running without torch.compile: {obstacle}.")
        return None
    return layer_by_layer(CompiledLayer(decoder_layer))


def compile_obstacle(device: str) -> str | None:
    """Return the reason why `torch.compile` cannot work for this device, or None if it can."""
    kind = device.partition(":")[0]
    if kind == "mps":
        return "torch.compile is not reliable on MPS"
    compiler = torch._inductor.config.cpp.cxx[1]  # loads _inductor, which takes a second: eager workers never get here
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler ({compiler})"
    if kind == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    return None
