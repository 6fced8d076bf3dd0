"""What `make wheel` needs for macOS on ARM: PyTorch's libraries for it, and a check of the kernels that were linked.

No program of macOS runs on another system. Therefore nothing here shows that the kernels load or compute.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch

OLDEST = "14.0"  # version of macOS that the wheels of PyTorch 2.13 need; macos_compiler.sh names it, too
TAG = f"macosx_{OLDEST.replace('.', '_')}_arm64"
COMPILER = Path(__file__).with_name("macos_compiler.sh")
# Zig's linker would add its own C++ library, and PyTorch could not catch that library's exceptions. Without it, the
# names of the C++ library are looked up when the kernels are loaded. PyTorch has loaded the system's library by then.
LINK_FLAGS = ("-nostdlib++", "-Wl,-undefined,dynamic_lookup")
_NO_LIBRARY = (0, 0xFE)  # numbers that a name has instead of a library's, if it is looked up later (<mach-o/nlist.h>)
_OF_CPP_LIBRARY = re.compile(r"__ZN?K?St|__ZT[VIT]N?(St|10__cxxabiv1)|__Z(nw|na|dl|da)|___(cxa|gxx)_")


class WrongNames(RuntimeError):
    """The kernels need names that neither PyTorch nor a library of macOS has."""


def pytorch_libraries(folder: Path) -> Path:
    """Download PyTorch's wheel for macOS, unless it is in the folder already. Returns the folder of its libraries.

    Raises:
        subprocess.CalledProcessError: pip cannot download the wheel. It has printed the reason.
    """
    version = torch.__version__.partition("+")[0]
    libraries = folder / f"torch-{version}" / "torch" / "lib"
    if not libraries.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as part:
            download = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--platform", TAG, "--dest", part]
            subprocess.run([sys.executable, "-m", "pip", *download, f"torch=={version}"], check=True)
            (wheel,) = Path(part).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                names = [name for name in archive.namelist() if Path(name).suffix == ".dylib"]
                archive.extractall(Path(part) / "torch-wheel", names)
            (Path(part) / "torch-wheel").rename(libraries.parents[1])
    return libraries


def check_names(library: Path) -> None:
    """Check that each name that the kernels need comes from a library of PyTorch or of macOS, or from the C++ library.

    Raises:
        WrongNames: There are other names.
    """
    from macholib.MachO import MachO
    from macholib.SymbolTable import SymbolTable

    needed = SymbolTable(MachO(str(library))).undefsyms
    later = [name.decode() for entry, name in needed if entry.n_desc >> 8 & 0xFF in _NO_LIBRARY]
    wrong = [name for name in later if not _OF_CPP_LIBRARY.match(name)]
    if wrong or not needed:
        raise WrongNames(f"{library.name} needs names that PyTorch {torch.__version__} does not have: {wrong}")
