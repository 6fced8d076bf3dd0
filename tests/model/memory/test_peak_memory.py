"""A process's peak is its own."""

from __future__ import annotations

import subprocess
import sys

BYTES = 256 << 20
SAY = "from model.memory.peak_memory import peak_memory_bytes; print(peak_memory_bytes('cpu'))"


def peak_of_a_process(code: str) -> int:
    done = subprocess.run([sys.executable, "-P", "-c", f"{code}\n{SAY}"], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_it_holds_what_was_used_and_freed() -> None:
    assert peak_of_a_process(f"used = bytearray(b'x') * {BYTES}\ndel used") > BYTES


def test_a_process_does_not_inherit_the_peak_of_the_one_that_starts_it() -> None:
    used = bytearray(b"x") * BYTES
    assert peak_of_a_process("") < len(used)
