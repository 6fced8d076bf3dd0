"""Loading the C++ operators: a prebuilt library, one that an earlier start built, or a new one.

A library's name holds a hash of everything that it depends on. Therefore a stale library is never loaded, and machines
may share the folder of built libraries.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from model.kernels.build import KernelsUnavailable, Toolchain, build_library, sources_digest
from model.kernels.tiers import Processor, Tier, choose_tier

PREBUILT = Path(__file__).parent / "prebuilt"  # filled only in wheels (`make wheel`)


def kernels_loaded() -> bool:
    """Return True if this process has loaded the C++ operators, `torch.ops.qwen_batch_cpu.*`."""
    return hasattr(torch.ops.qwen_batch_cpu, "decode_attention")


def load_kernels(cache_folder: Path, prebuilt: Path = PREBUILT, on_build: Callable[[], None] = lambda: None) -> None:
    """Load the operators `torch.ops.qwen_batch_cpu.*` for this processor's tier. Idempotent.

    Args:
        cache_folder: Folder for libraries that are built here. It is created if it is needed.
        prebuilt: Folder of the libraries that came with the installation.
        on_build: Called before a library is built, which takes seconds to minutes.

    Raises:
        InvalidInput: The environment names no tier that this processor can run.
        KernelsUnavailable: No prebuilt library loads, and there is no C++ compiler, or it failed or took too long.
    """
    if kernels_loaded():
        return
    processor = Processor.inspect()
    tier = choose_tier(processor)
    library = prebuilt / prebuilt_name(tier)
    obstacle = _load(library) if library.exists() else None
    if kernels_loaded():
        return
    try:
        library = built_library(tier, processor, cache_folder, on_build)
    except KernelsUnavailable as error:
        raise KernelsUnavailable(f"{obstacle}, and {error}" if obstacle else str(error)) from error
    obstacle = _load(library)
    if obstacle:
        raise KernelsUnavailable(obstacle)


def prebuilt_name(tier: Tier) -> str:
    """Return the file name of a tier's prebuilt library for the sources of this version."""
    return f"qwen_batch_cpu-{tier.name}-{sources_digest(tier)}.so"


def built_library(tier: Tier, processor: Processor, folder: Path, on_build: Callable[[], None] = lambda: None) -> Path:
    """Return the library that this machine built for a tier in a folder, and build it first if necessary.

    If several processes need the library at the same time, one of them builds it, and the others wait. Each of them
    calls `on_build` first. If the compiler fails, it fails for all of them.

    Raises:
        KernelsUnavailable: There is no C++ compiler, or it failed or took too long.
    """
    toolchain = Toolchain.of_this_machine()
    command = [
        *toolchain.compile_command(tier),
        *toolchain.link_command(),
        sources_digest(tier),
        str(torch.__version__),
    ]
    if tier.name == "native":  # the flags alone do not say which instructions the compiler uses
        command.append(processor.description)
    digest = hashlib.sha256("\0".join(command).encode()).hexdigest()[:16]
    library = folder / f"qwen_batch_cpu-{tier.name}-{digest}.so"
    if not library.exists():
        _build_once(toolchain, tier, library, on_build)
    return library


def _build_once(toolchain: Toolchain, tier: Tier, library: Path, on_build: Callable[[], None]) -> None:
    """Build a library unless another process builds it meanwhile. If that process fails, so does this one.

    Otherwise each of several workers would wait for the compiler's time-out, one after the other. The builder leaves
    its reason beside the library. A later start finds an old reason and builds anew.
    """
    failure = library.with_suffix(".failed")
    known = _version_of(failure)
    on_build()
    with _one_builder(library.parent):
        if library.exists():
            return
        if _version_of(failure) not in (None, known):
            raise KernelsUnavailable(failure.read_text(encoding="utf-8"))
        failure.unlink(missing_ok=True)
        try:
            build_library(toolchain, tier, library)
        except KernelsUnavailable as error:
            with suppress(OSError):  # on a full disk, the next process tries by itself
                failure.write_text(str(error), encoding="utf-8")
            raise


def _version_of(file: Path) -> tuple[int, int] | None:
    """Return what changes whenever a file is written anew, or None if there is no file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@contextmanager
def _one_builder(folder: Path) -> Iterator[None]:
    """Wait until no other process builds in the folder. The kernel ends the wait if the builder dies."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: each process builds its own library
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _load(library: Path) -> str | None:
    """Load a library. Returns the reason if the library does not load."""
    try:
        torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
    except OSError as error:
        return f"the library {library} does not load: {error}"
    return None
