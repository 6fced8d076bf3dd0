"""The C++ kernels are built once, kept, and done without where they cannot be built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model.kernels.build import KernelsUnavailable, load_kernels

LOAD = """
import sys
from engine.execution.kernels import load_cpu_kernels
print(load_cpu_kernels(lambda line: print(line, file=sys.stderr)))
"""


def load_in_a_new_process(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LOAD],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    )


@pytest.fixture
def quick_compiler(built_kernels: None, tmp_path: Path) -> str:
    """The C++ compiler without optimisation, which builds the kernels in half the time."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or "c++"
    script = tmp_path / "quick-compiler"
    script.write_text(f'#!/bin/bash\nexec {compiler} "${{@/-O3/-O0}}"\n')
    script.chmod(0o755)
    return str(script)


def test_a_library_that_was_built_before_is_loaded_as_it_is(quick_compiler: str, tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path), "CXX": quick_compiler}
    first = load_in_a_new_process(**environment)
    (library,) = (tmp_path / "qwen-batch" / "kernels").iterdir()
    built_at = library.stat().st_mtime_ns
    second = load_in_a_new_process(**environment)
    assert (first.stdout, second.stdout) == ("True\n", "True\n")
    assert [(path, path.stat().st_mtime_ns) for path in library.parent.iterdir()] == [(library, built_at)]


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [("false", "the C++ compiler false failed"), ("no-such-compiler", "the C++ compiler no-such-compiler did not run")],
)
def test_a_compiler_that_fails_is_one_line_and_no_library(compiler: str, reason: str, tmp_path: Path) -> None:
    done = load_in_a_new_process(XDG_CACHE_HOME=str(tmp_path), CXX=compiler)
    assert done.stdout == "False\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("Running without the C++ kernels, much slower: ")
    assert reason in line
    assert list((tmp_path / "qwen-batch" / "kernels").iterdir()) == []


def test_loading_twice_in_one_process_is_loading_once(built_kernels: None, tmp_path: Path) -> None:
    load_kernels(tmp_path / "never made")
    assert not (tmp_path / "never made").exists()


def test_no_compiler_at_all_is_named(tmp_path: Path) -> None:
    done = load_in_a_new_process(XDG_CACHE_HOME=str(tmp_path), PATH="", CXX="")
    assert "there is no C++ compiler (g++ or clang++) on the PATH" in done.stderr
    assert issubclass(KernelsUnavailable, RuntimeError)
