"""A copy of the working tree in which a mutant can do no harm."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil

from tools.mutation.mutants import REPOSITORY, Selection
from tools.mutation.pytest_runs import PytestRuns

MARK = "MUTATION_WORKSPACE"  # names, in the environment of every process started here, the folder that it belongs to
UNUSED_PLUGINS = (
    "anyio",
    "cacheprovider",
    "hypothesispytest",
    "valkey",
    "xdist",
)  # to load them takes most of the time
# Warnings caused by preloaded libraries: pytest cannot rewrite them, and sees the files that they leave open.
IGNORED = ("pytest.PytestAssertRewriteWarning", "pytest.PytestUnraisableExceptionWarning")
PYTEST = (
    *("-x", "-q", "--timeout=300"),
    *(word for name in UNUSED_PLUGINS for word in ("-p", f"no:{name}")),
    *(word for name in IGNORED for word in ("-W", f"ignore::{name}")),
)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one run of pytest."""

    status: int | None  # pytest's exit status; None: it took too long and was killed
    output: str
    seconds: float

    @property
    def all_skipped(self) -> bool:
        """True if no test ran."""
        return self.status == 5 or (self.status == 0 and " passed" not in self.output.rstrip().rpartition("\n")[2])


class Workspace:
    """A copy of the tree, an interpreter that imports only this copy, and a private cache and temporary folder.

    The interpreter is a virtual environment of its own, whose path holds the copy and the packages of the running
    interpreter. A process that a test starts therefore imports the copy, too, even if it changes its environment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self.cache = folder / "cache"
        self._temporary = folder / "tmp"
        self._python = folder / "venv" / "bin" / "python"

    def make(self) -> None:
        """Copy what git tracks, and new files that it does not ignore."""
        listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        names = subprocess.run(listed, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            if (REPOSITORY / name).is_file():  # a tracked file may be deleted already
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPOSITORY / name, self.tree / name)
        shared = REPOSITORY.parent / "shared"  # files for tests that the repository does not hold
        if shared.exists():
            (self.folder / "shared").symlink_to(shared)
        venv.create(self.folder / "venv", symlinks=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        packages = self.folder / "venv" / "lib" / version / "site-packages"
        (packages / "copy.pth").write_text(f"{self.tree}\n{sysconfig.get_path('purelib')}\n")

    def build_kernels(self) -> bool:
        """Build the kernels from the current sources into the cache. Returns whether the cache has kernels now."""
        command = [str(self._python), "-m", "tools.mutation.kernels"]
        return subprocess.run(command, cwd=self.tree, env=self._environment(), check=False).returncode == 0

    def kernels(self) -> set[Path]:
        """Return the libraries in the cache."""
        return set(self.cache.rglob("*.so"))

    def run(self, tests: Selection, timeout: float) -> Outcome:
        """Run tests until one fails, then end all processes that they have left."""
        words = [*PYTEST, "-m", "not slow", *(("-k", tests.keyword) if tests.keyword else ()), *tests.files]
        self._temporary.mkdir(exist_ok=True)
        output = self.folder / "output"
        order = {"arguments": words, "output": str(output), "environment": {MARK: str(self.folder)}}
        began = time.monotonic()
        try:
            status = self._runs.run(order, timeout)
        finally:
            self._end_processes()
            shutil.rmtree(self._temporary, ignore_errors=True)
        return Outcome(status, output.read_text(encoding="utf-8", errors="replace"), time.monotonic() - began)

    @cached_property
    def _runs(self) -> PytestRuns:
        return PytestRuns(self._python, self.tree, self._environment())

    def close(self) -> None:
        """End the process that runs tests."""
        self._runs.close()

    def _environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTEST_ADDOPTS", "CI")}
        return ours | {
            # A mutant may have the size and the time (in seconds) of the original. Python would use old bytecode.
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_WAIT_POLICY": "passive",  # threads that spin keep others from the processor
            "TMPDIR": str(self._temporary),
            "TRITON_INTERPRET": "1",  # Triton reads it at its import, before `tests/conftest.py` can set it
            "XDG_CACHE_HOME": str(self.cache),
        }

    def _end_processes(self) -> None:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == str(self.folder):
                    process.send_signal(signal.SIGKILL)
