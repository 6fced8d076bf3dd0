"""Compile the C++ operators on first use, keep the library, load it.

The sources need only PyTorch's stable C++ headers, so the build takes seconds. The library's name is a hash of all that
it depends on (sources, flags, PyTorch, processor), so a stale one is never loaded and machines may share the folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

SOURCES = Path(__file__).parent
FLAGS = ("-O3", "-std=c++20", "-fPIC", "-shared", "-fopenmp-simd", "-ffp-contract=fast")
BUILD_TIMEOUT_SECONDS = 300


class KernelsUnavailable(RuntimeError):
    """The operators cannot be built or loaded here; the message says why in one line."""


def kernels_loaded() -> bool:
    """Whether this process has the C++ operators, `torch.ops.qwen_batch_cpu.*`."""
    return hasattr(torch.ops.qwen_batch_cpu, "decode_attention")


def load_kernels(cache_folder: Path) -> None:
    """Make `torch.ops.qwen_batch_cpu.*` available, building them if this machine has not yet. Idempotent.

    Args:
        cache_folder: Where built libraries are kept; made if it does not exist.

    Raises:
        KernelsUnavailable: There is no C++ compiler, or it failed.
    """
    if kernels_loaded():
        return
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
    if not compiler:
        raise KernelsUnavailable("there is no C++ compiler (g++ or clang++) on the PATH")
    command = _command(compiler)
    library = cache_folder / f"qwen_batch_cpu-{_digest(command)}.so"
    if not library.exists():
        _build(command, library)
    try:
        torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
    except OSError as error:
        raise KernelsUnavailable(f"the built library {library} does not load: {error}") from error


def _command(compiler: str) -> list[str]:
    torch_folder = Path(torch.__file__).parent
    version = torch.__version__.split("+")[0].split(".")
    # The stable ABI's feature level: one byte each for major and minor.
    level = f"-DTORCH_TARGET_VERSION=0x{int(version[0]):02x}{int(version[1]):02x}000000000000"
    tune = "-mcpu=native" if platform.machine() in {"arm64", "aarch64"} else "-march=native"
    sources = sorted(str(source) for source in SOURCES.glob("*.cpp"))
    libraries = ["-L", str(torch_folder / "lib"), "-ltorch", "-ltorch_cpu", "-lc10"]
    return [compiler, *FLAGS, tune, level, "-I", str(torch_folder / "include"), *sources, *libraries]


def _digest(command: list[str]) -> str:
    digest = hashlib.sha256("\0".join(command).encode())
    for source in sorted(SOURCES.glob("*.cpp")) + sorted(SOURCES.glob("*.h")):
        digest.update(source.read_bytes())
    digest.update(f"{torch.__version__} {platform.machine()} {_processor()}".encode())
    return digest.hexdigest()[:16]


def _processor() -> str:
    """What `-march=native` depends on: the processor's model and its instruction sets."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor()
    lines = cpuinfo.read_text().splitlines()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "model name", "Features"))}))


def _build(command: list[str], library: Path) -> None:
    """Build beside the target and rename: workers that start together never load half a file."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        built = Path(folder) / library.name
        try:
            result = subprocess.run(
                [*command, "-o", str(built)], capture_output=True, text=True, timeout=BUILD_TIMEOUT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KernelsUnavailable(f"the C++ compiler {command[0]} did not run: {error}") from error
        if result.returncode != 0:
            first = next((line for line in result.stderr.splitlines() if "error" in line), result.stderr.strip()[:200])
            raise KernelsUnavailable(f"the C++ compiler {command[0]} failed: {first}")
        built.replace(library)
