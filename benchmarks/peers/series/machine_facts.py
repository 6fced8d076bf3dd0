"""A description of this machine without names of users or hosts."""

from __future__ import annotations

import platform
from pathlib import Path

import msgspec
import psutil

from benchmarks.peers.series.results import MachineFacts
from cli.offline.machine_speed import measure_machine

# As /proc/cpuinfo spells them; the names on other systems differ, and are left out there.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "bf16", "i8mm", "sve")


def describe_machine(threads: int) -> MachineFacts:
    """Describe this machine, and measure its memory and arithmetic with `threads` threads, for some seconds."""
    fields = _processor_fields(Path("/proc/cpuinfo"))
    flags = fields.get("flags", fields.get("Features", "")).split()
    return MachineFacts(
        processor=fields.get("model name") or platform.processor() or platform.machine(),
        cores=threads,
        instructions=tuple(name for name in INSTRUCTIONS if name in flags),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        speed=measure_machine(threads),
    )


def measured_again(facts: MachineFacts) -> MachineFacts:
    """Measure the machine again and return the facts with the better speeds. Other programs can spoil one result."""
    return msgspec.structs.replace(facts, speed=facts.speed.best_of(measure_machine(facts.cores)))


def _processor_fields(path: Path) -> dict[str, str]:
    """Return the fields of the first processor in a file like /proc/cpuinfo, or none if there is no such file."""
    if not path.exists():
        return {}
    first = path.read_text().split("\n\n", maxsplit=1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
