"""What a hint says, read with suspicion: anybody who can reach the broker can put a message on the queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobs.records.job import ShardRef

MAX_ID_CHARS = 200
MAX_INDEX = 2**53 - 1  # what survives JSON everywhere


class MalformedHint(ValueError):
    """A message that is not `run_shard(job_id, shard_index)`."""


def shard_of_hint(args: Sequence[object], kwargs: Mapping[str, object]) -> ShardRef:
    """The shard that a message names. Raises `MalformedHint`."""
    if len(args) == 2 and not kwargs:
        job_id, index = args
    elif not args and set(kwargs) == {"job_id", "shard_index"}:
        job_id, index = kwargs["job_id"], kwargs["shard_index"]
    else:
        raise MalformedHint("expected job_id and shard_index")
    if not isinstance(job_id, str) or not 0 < len(job_id) <= MAX_ID_CHARS or not job_id.isprintable():
        raise MalformedHint("job_id is not a short printable text")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index <= MAX_INDEX:
        raise MalformedHint("shard_index is not a whole number from 0")
    return ShardRef(job_id, index)
