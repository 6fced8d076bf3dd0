"""Lines that take their workers down: the one line gets an error, its neighbours go on."""

from __future__ import annotations

from jobs.errors import LeaseLost
from jobs.keys import JobKeys
from jobs.records.job import Lease, ShardRef
from jobs.stores.damage import numbers
from jobs.stores.packing import encode_completion, unpack_prompts
from jobs.stores.redis.server import RedisServer
from jobs.stores.rules import lease_lost, worker_lost_line


def late_lease(server: RedisServer, lease: Lease) -> LeaseLost:
    """A worker acts on a shard that is no longer its own; its silence was not the shard's fault, since it is alive."""
    server.script("absolve", [JobKeys(lease.shard.job_id).shard(lease.shard.index)], lease.token)
    return lease_lost(lease)


class SilentWorkers:
    """Drops the leases of workers that have fallen silent. What two callers find at once is done once."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def drop(self, shard: ShardRef) -> bool:
        """Take a shard from a silent worker; whether it needs another one now."""
        keys, index = JobKeys(shard.job_id), shard.index
        names = [keys.shard(index), keys.running(index), keys.open, keys.leases, keys.meta]
        reply = self._server.script("drop_expired", names, index)
        if reply == "guilty":
            reply = self._lose_line(shard)
        return bool(reply == "open")

    def _lose_line(self, shard: ShardRef) -> str:
        keys, index, reply = JobKeys(shard.job_id), shard.index, "changed"
        names = [keys.meta, keys.shard(index), keys.running(index), keys.open, keys.leases]
        while reply == "changed":
            done, source = self._server.pipeline(
                [("HKEYS", keys.running(index)), ("GET", keys.input(index))], atomic=True
            )
            if source is None:  # deleted meanwhile
                return "no"
            have, prompts = numbers(keys.running(index), done), unpack_prompts(source, keys.input(index))
            first = next((prompt for prompt in prompts if prompt.index not in have), None)
            if first is None:
                return "no"
            line = encode_completion(worker_lost_line(first))
            reply = self._server.script("lose_line", names, index, len(have), first.index, line)
        return reply
