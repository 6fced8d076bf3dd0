"""How many lines a worker takes together."""

from __future__ import annotations

MIN_SHARD_SIZE = 16  # smaller ones cost more in round trips than they win
USUAL_SHARD_SIZE = 64  # larger ones make the end of a job long
MAX_SHARD_SIZE = 256  # in huge jobs, whose end is a small part of them: lines that lie together compress better
_SHARDS_WANTED = 64  # enough for every worker of a small fleet to have several in flight
_MANY_SHARDS = 1024  # enough for any fleet


def shard_size(num_lines: int) -> int:
    """Lines a shard, for a job of `num_lines`: about 64 shards of 16 to 64 lines, or in huge jobs 1,024 larger ones."""
    usual = min(max(num_lines // _SHARDS_WANTED, MIN_SHARD_SIZE), USUAL_SHARD_SIZE)
    return max(usual, min(num_lines // _MANY_SHARDS, MAX_SHARD_SIZE))
