"""Whether a KV cache is too small for the batch, and what to do about it."""

from __future__ import annotations

import math
from dataclasses import dataclass

_MIB, _GIB = 2**20, 2**30
_MATTERS = 1.25  # so many times as many sequences must have room in a larger cache
_MATTERING_SHARE = 0.1  # of the decode steps


@dataclass(frozen=True)
class CacheRoom:
    """How many sequences ran while others waited for room in the cache, though the batch had places for them."""

    running: float  # sequences
    waiting: float  # sequences that a larger cache would let run beside them
    wanted_bytes: int  # a cache that holds all of them; an estimate from the pages of those that ran
    share: float = 1.0  # of the decode steps that were looked at, 0 to 1

    @property
    def is_short(self) -> bool:
        """Whether a larger cache would make a difference that is worth a line."""
        return self.share >= _MATTERING_SHARE and self.running + self.waiting >= _MATTERS * max(self.running, 1.0)

    @property
    def advice(self) -> str:
        """What fits, what would fit, and the option that changes it."""
        return (
            f"The KV cache has room for {_whole(self.running)} of {_whole(self.running + self.waiting)} sequences. "
            f"More run together with `--kv-cache-memory {_size(self.wanted_bytes)}` on the worker."
        )


def _whole(number: float) -> str:
    return f"{max(round(number), 1):,}"


def _size(size: int) -> str:
    """As `--kv-cache-memory` takes it, rounded up."""
    return f"{math.ceil(size / _GIB)}GiB" if size > _GIB else f"{math.ceil(size / _MIB)}MiB"
