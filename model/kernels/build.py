"""Building the C++ operators on first use, and loading the library.

The build takes seconds, because the sources need only PyTorch's stable C++ headers. It has two translation units:
reading the headers takes a second per unit, and the smallest machines have two cores. The library's name is a hash of
everything that it depends on: sources, flags, PyTorch and processor. Therefore a stale library is never loaded, and
machines may share the folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

SOURCES = Path(__file__).parent / "cpu"
TORCH_FOLDER = Path(torch.__file__).parent
FLAGS = ("-O3", "-std=c++20", "-fPIC", "-fvisibility=hidden", "-fopenmp-simd", "-ffp-contract=fast")
BUILD_TIMEOUT_SECONDS = 300


class KernelsUnavailable(RuntimeError):
    """The operators cannot be built or loaded on this machine. The message gives the reason in one line."""


def kernels_loaded() -> bool:
    """Return True if this process has loaded the C++ operators, `torch.ops.qwen_batch_cpu.*`."""
    return hasattr(torch.ops.qwen_batch_cpu, "decode_attention")


def load_kernels(cache_folder: Path) -> None:
    """Load the operators `torch.ops.qwen_batch_cpu.*`, and build them first if necessary. Idempotent.

    Args:
        cache_folder: Folder for built libraries. It is created if it does not exist.

    Raises:
        KernelsUnavailable: There is no C++ compiler, or it failed.
    """
    if kernels_loaded():
        return
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
    if not compiler:
        raise KernelsUnavailable("there is no C++ compiler (g++ or clang++) on the PATH")
    compile_command, link_command = _compile_command(compiler), _link_command(compiler)
    library = cache_folder / f"qwen_batch_cpu-{_digest([*compile_command, *link_command])}.so"
    if not library.exists():
        _build(compile_command, link_command, library)
    try:
        torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
    except OSError as error:
        raise KernelsUnavailable(f"the built library {library} does not load: {error}") from error


def _compile_command(compiler: str) -> list[str]:
    """Return the command that compiles one unit. The caller appends a source and `-o` with the object."""
    version = torch.__version__.split("+")[0].split(".")
    # Feature level of the stable ABI: one byte for the major version and one for the minor version.
    level = f"-DTORCH_TARGET_VERSION=0x{int(version[0]):02x}{int(version[1]):02x}000000000000"
    tune = "-mcpu=native" if platform.machine() in {"arm64", "aarch64"} else "-march=native"
    rooms = [word for room in sorted(SOURCES.iterdir()) for word in ("-iquote", str(room))]
    return [compiler, *FLAGS, tune, level, "-I", str(TORCH_FOLDER / "include"), *rooms, "-c"]


def _link_command(compiler: str) -> list[str]:
    """Return the command that links the library. The caller inserts the objects after `-shared`, before `-l` options.

    The linker resolves an object's symbols only from libraries that follow the object.
    """
    return [compiler, "-shared", "-L", str(TORCH_FOLDER / "lib"), "-ltorch", "-ltorch_cpu", "-lc10"]


def _digest(command: list[str]) -> str:
    digest = hashlib.sha256("\0".join(command).encode())
    for source in sorted(SOURCES.glob("*/*.cpp")) + sorted(SOURCES.glob("*/*.h")):
        digest.update(source.read_bytes())
    digest.update(f"{torch.__version__} {platform.machine()} {_processor()}".encode())
    return digest.hexdigest()[:16]


def _processor() -> str:
    """Describe the processor's model and its instruction sets, on which `-march=native` depends."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor()
    lines = cpuinfo.read_text().splitlines()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "model name", "Features"))}))


def _build(compile_command: list[str], link_command: list[str], library: Path) -> None:
    """Build the library in a temporary folder, then rename it. Other workers thus never load an incomplete file."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        units = _translation_units(Path(folder))
        objects = [str(unit.with_suffix(".o")) for unit in units]
        commands = [[*compile_command, str(unit), "-o", object] for unit, object in zip(units, objects, strict=True)]
        for _ in pool.map(_run, commands):
            pass
        built = Path(folder) / library.name
        _run([*link_command[:2], *objects, *link_command[2:], "-o", str(built)])
        built.replace(library)


def _translation_units(folder: Path) -> list[Path]:
    """Write two translation units: one includes the attention sources, the other one all others.

    Both take about equal time to compile. Sources that share a unit see each other's names. Each therefore keeps its
    private names in a namespace of its own.
    """
    attention = set(SOURCES.glob("attention/*.cpp"))
    sources = {"attention": attention, "others": set(SOURCES.glob("*/*.cpp")) - attention}
    units = []
    for name, members in sources.items():
        units.append(folder / f"{name}.cpp")
        units[-1].write_text("".join(f'#include "{source.name}"\n' for source in sorted(members)))
    return units


def _run(command: list[str]) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelsUnavailable(f"the C++ compiler {command[0]} did not run: {error}") from error
    if result.returncode != 0:
        first = next((line for line in result.stderr.splitlines() if "error" in line), result.stderr.strip()[:200])
        raise KernelsUnavailable(f"the C++ compiler {command[0]} failed: {first}")
