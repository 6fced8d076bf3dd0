"""Choose the number of lines per shard."""

from __future__ import annotations

MIN_SHARD_SIZE = 16  # smaller shards cost more round trips than they gain
USUAL_SHARD_SIZE = 64  # larger shards prolong the end of a job, when some workers have nothing left to do
MAX_SHARD_SIZE = 256  # for huge jobs, whose end is a small part of them; more lines per shard compress better
_SHARDS_WANTED = 64  # enough shards for several per worker in a small fleet
_MANY_SHARDS = 1024  # enough shards for any fleet


def shard_size(num_lines: int) -> int:
    """Return the lines per shard: about 64 shards of 16 to 64 lines, or about 1,024 larger shards for a huge job."""
    usual = min(max(num_lines // _SHARDS_WANTED, MIN_SHARD_SIZE), USUAL_SHARD_SIZE)
    return max(usual, min(num_lines // _MANY_SHARDS, MAX_SHARD_SIZE))
