"""Building the C++ operators for a tier of processors.

A build takes seconds, because the sources need only PyTorch's stable C++ headers. It has two translation units:
reading the headers takes a second per unit, and the smallest machines have two cores.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

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
    with (
        tempfile.TemporaryDirectory(dir=library.parent) as folder,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        _CompilerRuns(Path(folder), timeout_seconds) as runs,  # ends before the pool, which waits for its threads
    ):
        units = translation_units(Path(folder))
        objects = [str(unit.with_suffix(".o")) for unit in units]
        commands = [[*compile_command, str(unit), "-o", object] for unit, object in zip(units, objects, strict=True)]
        for compiled in as_completed([pool.submit(runs.run, command) for command in commands]):
            compiled.result()
        built = Path(folder) / library.name
        runs.run([*link_command[:2], *objects, *link_command[2:], "-o", str(built)])
        built.replace(library)


def translation_units(folder: Path) -> list[Path]:
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


class _CompilerRuns:
    """A context manager that runs the compiler. Its end kills the compilers that still run. Thread-safe.

    A compiler starts other programs. It has a process group of its own, so that these end with it.

    Args:
        folder: Folder for temporary files, which a killed compiler leaves behind.
        timeout_seconds: Max duration of each run.
    """

    def __init__(self, folder: Path, timeout_seconds: float) -> None:
        self._environment = os.environ | {"TMPDIR": str(folder)}
        self._timeout = timeout_seconds
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._ended = True
            for process in self._running:
                _kill_group(process)

    def run(self, command: list[str]) -> None:
        """Run one command to its end. Raises `KernelsUnavailable`."""
        try:
            process = self._start(command)
        except OSError as error:
            raise KernelsUnavailable(f"the C++ compiler {command[0]} did not run: {error}") from error
        with process:
            try:
                _, errors = process.communicate(timeout=self._timeout)
            except subprocess.TimeoutExpired as error:
                raise KernelsUnavailable(
                    f"the C++ compiler {command[0]} had not finished after {self._timeout:g} s. The next start builds "
                    "the kernels again: start again when this machine is less busy, or install a wheel with prebuilt "
                    "kernels"
                ) from error
            finally:
                _kill_group(process)
                with self._lock:
                    self._running.remove(process)
        if process.returncode != 0:
            first = next((line for line in errors.splitlines() if "error" in line), errors.strip()[:200])
            raise KernelsUnavailable(f"the C++ compiler {command[0]} failed: {first}")

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._ended:
                raise KernelsUnavailable("the build of the kernels was interrupted")
            process = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                process_group=0,
            )
            self._running.add(process)
            return process


def _kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a process and all processes of its group, unless it has ended already."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
