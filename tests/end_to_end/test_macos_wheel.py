"""`make macos` makes a wheel for macOS on another system. What can be checked there: files, names and signatures."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from model.kernels.library import prebuilt_name
from model.kernels.tiers import TIERS
from tools import macos
from tools.make_wheel import BUILD, PLATFORMS, prebuilt_libraries, wheel_with

pytest.importorskip("ziglang", reason="`make macos` installs the compiler")
MachO = pytest.importorskip("macholib.MachO", reason="`make macos` installs it").MachO

ARM64 = 0x0100000C  # <mach/machine.h>
NAMES = sorted(prebuilt_name(tier) for tier in TIERS if tier.machine == "aarch64")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (target,) = (platform for platform in PLATFORMS if platform.name == "macos-arm64")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHON", sys.executable)
        libraries = prebuilt_libraries(target, None, BUILD / "kernels")
    return wheel_with(libraries, target, tmp_path_factory.mktemp("macos"))


@pytest.fixture(params=NAMES)
def library(request: pytest.FixtureRequest, wheel: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(f"model/kernels/prebuilt/{request.param}", tmp_path))


def test_the_wheel_has_a_library_for_each_tier_of_arm(wheel: Path) -> None:
    assert wheel.name.endswith(f"-py3-none-{macos.TAG}.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = sorted(Path(name).name for name in archive.namelist() if "/prebuilt/" in name)
    assert packed == NAMES


def test_a_library_is_for_apples_processors_and_signed(library: Path) -> None:
    (header,) = MachO(str(library)).headers
    assert header.header.cputype == ARM64
    # Apple's processors run no code without a signature.
    assert "LC_CODE_SIGNATURE" in {load.get_cmd_name() for load, *_ in header.commands}


def test_a_library_needs_only_pytorch_and_the_system(library: Path) -> None:
    (header,) = MachO(str(library)).headers
    needed = {name for *_, name in header.walkRelocatables()}
    pytorch = {f"@rpath/{name}.dylib" for name in ("libtorch", "libtorch_cpu", "libc10")}
    assert needed == pytorch | {"/usr/lib/libSystem.B.dylib"}


def test_names_that_pytorch_lacks_are_reported(tmp_path: Path) -> None:
    source, library = tmp_path / "wrong.cpp", tmp_path / "wrong.so"
    source.write_text('extern "C" int aoti_torch_nowhere(); int call() { return aoti_torch_nowhere(); }')
    command = [str(macos.COMPILER), "-shared", *macos.LINK_FLAGS, str(source), "-o", str(library)]
    subprocess.run(command, env=os.environ | {"PYTHON": sys.executable}, check=True)
    with pytest.raises(macos.WrongNames, match="aoti_torch_nowhere"):
        macos.check_names(library)
