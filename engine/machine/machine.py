"""What this machine has to offer a model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil  # type: ignore[import-untyped]  # it comes without types
import torch

from engine.machine.cgroup import Cgroups


@dataclass(frozen=True)
class Machine:
    """Facts that decide the automatic settings, as this process may use them."""

    cores: int  # physical ones
    memory_left_bytes: int
    cuda_memory_left_bytes: int | None  # of the first device; None without CUDA
    has_mps: bool

    @classmethod
    def inspect(cls) -> Self:
        """The machine as it stands now."""
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
    """Of the first device; what PyTorch holds of an earlier model's and does not use is free too."""
    unused = torch.cuda.memory_reserved(0) - torch.cuda.memory_allocated(0)
    return int(torch.cuda.mem_get_info(0)[0]) + unused


def usable_cores(cgroups: Cgroups, root: Path = Path("/")) -> int:
    """Physical cores that this process may run on. Two threads on one core slow a matrix product down.

    Args:
        cgroups: May allow less time than the cores have.
        root: Where `sys` is mounted.
    """
    if hasattr(os, "sched_getaffinity"):
        cpus = os.sched_getaffinity(0)
        cores = len({_core(root, cpu) for cpu in cpus})
    else:
        cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    limit = cgroups.cpus()
    return max(1, cores if limit is None else min(cores, int(limit)))


def _core(root: Path, cpu: int) -> tuple[str, str]:
    """Names the core that a logical processor belongs to; where nothing tells, each is a core of its own."""
    topology = root / "sys" / "devices" / "system" / "cpu" / f"cpu{cpu}" / "topology"
    try:
        return (topology / "physical_package_id").read_text(), (topology / "core_id").read_text()
    except OSError:
        return "", str(cpu)
