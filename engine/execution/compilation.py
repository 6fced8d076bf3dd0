"""Whether `torch.compile` can work here, and where it keeps what it has compiled."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping, MutableMapping
from pathlib import Path

import torch

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where this user's compiled code is kept between starts."""
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "qwen-batch"


def keep_compile_cache(environ: MutableMapping[str, str] = os.environ) -> Path:
    """Let compiled code outlive the process, shared by all workers of this user. Returns the folder.

    By default PyTorch keeps it in the machine's temporary folder, where a restart or a clean-up loses it. To be called
    before anything is compiled; a folder that the variable names already stays.
    """
    return Path(environ.setdefault(CACHE_VARIABLE, str(cache_folder(environ) / "inductor")))


def compile_obstacle(device: str) -> str | None:
    """Why nothing can be compiled for this device, or None if nothing stands in the way."""
    kind = device.partition(":")[0]
    if kind == "mps":
        return "torch.compile is not reliable on MPS"
    compiler = torch._inductor.config.cpp.cxx[1]  # loaded here: takes a second, and eager workers can do without
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler ({compiler})"
    if kind == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    return None
