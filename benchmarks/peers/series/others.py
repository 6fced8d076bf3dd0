"""The share of the machine that other programs used during a measurement. Figures of a busy machine are worthless."""

from __future__ import annotations

import resource
import time

import psutil


class OthersWatch:
    """Counts, from its creation on, the processor time that this program's finished children did not use."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()
        self._busy = _busy_seconds()
        self._children = _children_seconds()

    def share(self) -> float:
        """Return the share of all processors' time that others used, 0 to 1.

        It includes time stolen by other virtual machines.
        """
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
