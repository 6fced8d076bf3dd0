"""Detect a KV cache that is too small for the batch, and say what to do."""

from __future__ import annotations

import math
from dataclasses import dataclass

_MIB, _GIB = 2**20, 2**30
_MATTERS = 1.25  # min factor by which a larger cache must increase the number of running sequences
_MATTERING_SHARE = 0.1  # min share of decode steps in which the cache was short


@dataclass(frozen=True)
class CacheRoom:
    """Mean numbers of running and waiting sequences, over the steps in which sequences waited only for cache room."""

    running: float  # sequences that ran
    waiting: float  # sequences that waited; a larger cache lets them run, too
    wanted_bytes: int  # size of a cache for all of them, estimated from the pages of running sequences
    share: float = 1.0  # share of decode steps in which sequences waited for room, 0 to 1

    @property
    def is_short(self) -> bool:
        """True if a larger cache would increase the batch noticeably."""
        return self.share >= _MATTERING_SHARE and self.running + self.waiting >= _MATTERS * max(self.running, 1.0)

    @property
    def advice(self) -> str:
        """Sentences that say how many sequences fit, and which option makes the cache larger."""
        return (
            f"The KV cache has room for {_whole(self.running)} of {_whole(self.running + self.waiting)} sequences. "
            f"More run together with `--kv-cache-memory {_size(self.wanted_bytes)}` on the worker."
        )


def _whole(number: float) -> str:
    return f"{max(round(number), 1):,}"


def _size(size: int) -> str:
    """Format a size for `--kv-cache-memory`, rounded up."""
    return f"{math.ceil(size / _GIB)}GiB" if size > _GIB else f"{math.ceil(size / _MIB)}MiB"
