"""The kernels' arithmetic on other kinds of processors: x86-64 with less than this one, and ARM in an emulator.

`vector_checks.cpp` compares it with plain loops. The program needs no PyTorch, which an emulator takes minutes to load.
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


def features() -> list[str]:
    return Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []


def assembly(folder: Path, compiler: str, *processor: str) -> Path:
    """The program in assembly language, compiled for a processor."""
    rooms = [word for room in sorted(SOURCES.iterdir()) for word in ("-iquote", str(room))]
    flags = [flag for flag in FLAGS if flag != "-fPIC"]
    source = folder / "vector_checks.s"
    subprocess.run([compiler, *flags, *processor, *rooms, "-S", str(PROGRAM), "-o", str(source)], check=True)
    return source


def check_arithmetic(compiler: str, source: Path, *emulator: str) -> None:
    binary = source.with_name("vector_checks")
    subprocess.run([compiler, "-static", str(source), "-o", str(binary)], check=True)
    done = subprocess.run([*emulator, str(binary)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("processor", ["-march=x86-64-v3", "-march=x86-64-v2"], ids=["AVX2", "without AVX2"])
def test_x86_64_without_avx512_computes_what_plain_loops_compute(tmp_path: Path, processor: str) -> None:
    require(shutil.which("g++") is not None and "avx2" in features(), "needs g++ and an x86-64 processor with AVX2")
    check_arithmetic("g++", assembly(tmp_path, "g++", processor))


def test_avx512_without_vnni_computes_what_plain_loops_compute(tmp_path: Path) -> None:
    if shutil.which("g++") is None or "avx512bw" not in features():
        pytest.skip("needs g++ and a processor with AVX-512")
    check_arithmetic("g++", assembly(tmp_path, "g++", "-march=x86-64-v4"))


def test_avx_vnni_computes_what_plain_loops_compute(tmp_path: Path) -> None:
    """AVX512-VNNI has the same instruction in another encoding, so a processor with either can run this."""
    if shutil.which("g++") is None or not {"avx_vnni", "avx512_vnni"} & set(features()):
        pytest.skip("needs g++ and a processor with AVX-VNNI or AVX512-VNNI")
    source = assembly(tmp_path, "g++", "-march=x86-64-v3", "-mavxvnni")
    code = source.read_text()
    assert "{vex} vpdpbusd" in code
    if "avx_vnni" not in features():
        source.write_text(code.replace("{vex} vpdpbusd", "{evex} vpdpbusd"))
    check_arithmetic("g++", source)


@pytest.mark.parametrize("extensions", ["", "+dotprod", "+dotprod+bf16+i8mm"])
def test_arm_computes_what_plain_loops_compute(tmp_path: Path, extensions: str) -> None:
    compiler, emulator = "aarch64-linux-gnu-g++", "qemu-aarch64"
    installed = shutil.which(compiler) is not None and shutil.which(emulator) is not None
    require(installed, "needs the Debian packages g++-aarch64-linux-gnu and qemu-user")
    check_arithmetic(compiler, assembly(tmp_path, compiler, f"-march=armv8.2-a{extensions}"), emulator)
