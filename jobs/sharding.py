"""How many lines a worker takes together."""

from __future__ import annotations

MIN_SHARD_SIZE = 16  # smaller ones cost more in round trips than they win
MAX_SHARD_SIZE = 64  # larger ones make the end of a job long, and fairness between jobs coarse
_SHARDS_WANTED = 64  # enough for every worker of a small fleet to have several in flight


def shard_size(num_lines: int) -> int:
    """Lines a shard, for a job of `num_lines`: about 64 shards, of 16 to 64 lines each."""
    return min(max(num_lines // _SHARDS_WANTED, MIN_SHARD_SIZE), MAX_SHARD_SIZE)
