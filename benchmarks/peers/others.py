"""How much of the machine others used while a system was measured: a figure of a busy machine is worth nothing."""

from __future__ import annotations

import resource
import time

import psutil  # type: ignore[import-untyped]  # it comes without types


class OthersWatch:
    """Begins when it is made, and counts all processors' time that this program's finished children did not use."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()
        self._busy = _busy_seconds()
        self._children = _children_seconds()

    def share(self) -> float:
        """Of all processors since the beginning, 0 to 1; other virtual machines' share of a host counts too."""
        elsewhere = (_busy_seconds() - self._busy) - (_children_seconds() - self._children)
        available = (time.monotonic() - self._started_at) * (psutil.cpu_count() or 1)
        return min(1.0, max(0.0, elsewhere / available))


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    stolen = getattr(times, "steal", 0.0)  # Linux has it
    return float(times.user + times.system + getattr(times, "nice", 0.0) + stolen)


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
