"""The kernels' arithmetic on other kinds of processors: x86-64 without AVX-512, and ARM in an emulator.

`vector_checks.cpp` compares it with plain loops. The program needs no PyTorch, which an emulator could not load.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from model.kernels.build import FLAGS, SOURCES
from tests.conftest import require

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("vector_checks.cpp")


def check_arithmetic(folder: Path, compiler: str, processor: str, emulator: list[str]) -> None:
    rooms = [word for room in sorted(SOURCES.iterdir()) for word in ("-iquote", str(room))]
    binary = folder / "vector_checks"
    flags = [flag for flag in FLAGS if flag != "-fPIC"]
    subprocess.run([compiler, *flags, processor, *rooms, "-static", str(PROGRAM), "-o", str(binary)], check=True)
    done = subprocess.run([*emulator, str(binary)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("processor", ["-march=x86-64-v3", "-march=x86-64-v2"], ids=["AVX2", "without AVX2"])
def test_x86_64_without_avx512_computes_what_plain_loops_compute(tmp_path: Path, processor: str) -> None:
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    require(shutil.which("g++") is not None and "avx2" in flags, "needs g++ and an x86-64 processor with AVX2")
    check_arithmetic(tmp_path, "g++", processor, [])


def test_arm_computes_what_plain_loops_compute(tmp_path: Path) -> None:
    compiler, emulator = "aarch64-linux-gnu-g++", "qemu-aarch64"
    if not (shutil.which(compiler) and shutil.which(emulator)):
        pytest.skip("needs the Debian packages g++-aarch64-linux-gnu and qemu-user")
    check_arithmetic(tmp_path, compiler, "-march=armv8.2-a", [emulator])
