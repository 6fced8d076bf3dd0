"""Building the C++ operators for a tier of processors.

A build takes seconds, because the sources need only PyTorch's stable C++ headers. It has two translation units:
reading the headers takes a second per unit, and the smallest machines have two cores.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from model.kernels.tiers import Tier

SOURCES = Path(__file__).parent / "cpu"
TORCH_FOLDER = Path(torch.__file__).parent
FLAGS = (
    *("-O3", "-std=c++20", "-fPIC", "-fvisibility=hidden", "-fopenmp-simd", "-ffp-contract=fast"),
    # Feature level of the stable ABI: one byte for the major version and one for the minor version. It is the lowest
    # PyTorch that pyproject.toml allows, so that a library serves that version and all later ones.
    "-DTORCH_TARGET_VERSION=0x020b000000000000",
)
BUILD_TIMEOUT_SECONDS = 300


class KernelsUnavailable(RuntimeError):
    """The operators cannot be built or loaded on this machine. The message gives the reason in one line."""


@dataclass(frozen=True)
class Toolchain:
    """A C++ compiler, and where it finds PyTorch's headers and libraries."""

    compiler: str
    include: Path = TORCH_FOLDER / "include"
    libraries: Path = TORCH_FOLDER / "lib"
    link_flags: tuple[str, ...] = ()

    @classmethod
    def of_this_machine(cls, environ: Mapping[str, str] = os.environ) -> Toolchain:
        """Find the compiler that `CXX` names, or else the first on the PATH.

        Raises:
            KernelsUnavailable: There is no C++ compiler.
        """
        compiler = environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
        if not compiler:
            raise KernelsUnavailable("there is no C++ compiler (g++ or clang++) on the PATH")
        return cls(compiler)

    def compile_command(self, tier: Tier) -> list[str]:
        """Return the command that compiles one unit. The caller appends a source and `-o` with the object."""
        rooms = [word for room in sorted(SOURCES.iterdir()) for word in ("-iquote", str(room))]
        return [self.compiler, *FLAGS, *tier.flags, "-I", str(self.include), *rooms, "-c"]

    def link_command(self) -> list[str]:
        """Return the command that links the library. The caller inserts objects after `-shared`, before `-l` options.

        The linker resolves an object's symbols only from libraries that follow the object.
        """
        libraries = ["-L", str(self.libraries), "-ltorch", "-ltorch_cpu", "-lc10"]
        return [self.compiler, "-shared", *self.link_flags, *libraries]


def sources_digest(tier: Tier) -> str:
    """Return a hash of the sources and of the flags that do not depend on a machine."""
    digest = hashlib.sha256("\0".join([*FLAGS, *tier.flags]).encode())
    for source in sorted(SOURCES.glob("*/*.cpp")) + sorted(SOURCES.glob("*/*.h")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def build_library(
    toolchain: Toolchain, tier: Tier, library: Path, timeout_seconds: float = BUILD_TIMEOUT_SECONDS
) -> None:
    """Build a library in a temporary folder, then rename it. Other workers thus never load an incomplete file.

    Args:
        toolchain: The compiler to use.
        tier: The instructions that the library may use.
        library: The file to write. Its folder is created if it does not exist.
        timeout_seconds: Max duration of each run of the compiler. After a time-out the next call builds anew.

    Raises:
        KernelsUnavailable: The compiler failed, or did not finish in time.
    """
    library.parent.mkdir(parents=True, exist_ok=True)
    compile_command, link_command = toolchain.compile_command(tier), toolchain.link_command()
    with tempfile.TemporaryDirectory(dir=library.parent) as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        units = _translation_units(Path(folder))
        objects = [str(unit.with_suffix(".o")) for unit in units]
        commands = [[*compile_command, str(unit), "-o", object] for unit, object in zip(units, objects, strict=True)]
        for _ in pool.map(lambda command: _run(command, timeout_seconds), commands):
            pass
        built = Path(folder) / library.name
        _run([*link_command[:2], *objects, *link_command[2:], "-o", str(built)], timeout_seconds)
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


def _run(command: list[str], timeout_seconds: float) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds, check=False)
    except OSError as error:
        raise KernelsUnavailable(f"the C++ compiler {command[0]} did not run: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise KernelsUnavailable(
            f"the C++ compiler {command[0]} had not finished after {timeout_seconds:g} s. The next start builds the "
            "kernels again: start again when this machine is less busy, or install a wheel with prebuilt kernels"
        ) from error
    if result.returncode != 0:
        first = next((line for line in result.stderr.splitlines() if "error" in line), result.stderr.strip()[:200])
        raise KernelsUnavailable(f"the C++ compiler {command[0]} failed: {first}")
