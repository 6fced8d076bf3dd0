"""What PyTorch takes before anything is computed. It depends on the build: 230 MB for CPUs, 530 MB for CUDA."""

from __future__ import annotations

import subprocess
import sys

from testing.processes.command_line import REPOSITORY

SCRIPT = "import torch; from model.memory.peak_memory import peak_cpu_memory_bytes as peak; print(peak())"


def pytorch_bytes() -> int:
    """Return the peak memory of a process that only imports PyTorch, in bytes."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)
