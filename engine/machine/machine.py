"""Inspection of this machine: cores, memory and devices."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
import torch

from engine.machine.cgroup import Cgroups
from model.kernels.macos_facts import SYSCTL, facts_of_macos

_FAST_CORES = "hw.perflevel0.physicalcpu"  # macOS's name of the number of performance cores


@dataclass(frozen=True)
class Machine:
    """The machine's resources that this process may use. They decide the automatic settings."""

    cores: int  # physical cores
    memory_left_bytes: int
    cuda_memory_left_bytes: int | None  # on the first CUDA device; None without CUDA
    has_mps: bool

    @classmethod
    def inspect(cls) -> Self:
        """Return the machine's current resources."""
        cgroups = Cgroups()
        memory = psutil.virtual_memory().available
        limit = cgroups.memory_left()
        return cls(
            cores=usable_cores(cgroups),
            memory_left_bytes=memory if limit is None else min(memory, limit),
            cuda_memory_left_bytes=_cuda_memory_left() if torch.cuda.is_available() else None,
            has_mps=torch.backends.mps.is_available(),
        )


def _cuda_memory_left() -> int:
    """Return the free bytes of the first CUDA device.

    Memory that PyTorch's allocator still reserves for an earlier model, but does not use, counts as free.
    """
    unused = torch.cuda.memory_reserved(0) - torch.cuda.memory_allocated(0)
    return int(torch.cuda.mem_get_info(0)[0]) + unused


def usable_cores(cgroups: Cgroups, root: Path = Path("/"), program: Path = SYSCTL) -> int:
    """Return the number of physical cores that this process may use.

    Logical processors are not counted, because two threads on one core slow a matrix product down. Nor are the
    efficiency cores of Apple's processors: they are slower, and threads wait for each other (not measured).

    Args:
        cgroups: Limits of CPU time; they may allow fewer cores.
        root: Folder in which `sys` is mounted.
        program: The program that knows an Apple processor's cores.
    """
    if hasattr(os, "sched_getaffinity"):
        cpus = os.sched_getaffinity(0)
        cores = len({_core(root, cpu) for cpu in cpus})
    else:
        fast = int(facts_of_macos([_FAST_CORES], program).get(_FAST_CORES, "0"))
        cores = fast or psutil.cpu_count(logical=False) or os.cpu_count() or 1
    limit = cgroups.cpus()
    return max(1, cores if limit is None else min(cores, int(limit)))


def _core(root: Path, cpu: int) -> tuple[str, str]:
    """Return the package and core id of a logical processor. If they are unknown, each processor counts as a core."""
    topology = root / "sys" / "devices" / "system" / "cpu" / f"cpu{cpu}" / "topology"
    try:
        return (topology / "physical_package_id").read_text(), (topology / "core_id").read_text()
    except OSError:
        return "", str(cpu)
