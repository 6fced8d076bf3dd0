"""A worker's side of the store: one shard from lease to finish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from jobs.keys import JobKeys
from jobs.records.completion import Completion, Latency
from jobs.records.job import Lease, LeaseStatus, ShardRef
from jobs.records.prompt import Prompt
from jobs.stats.latency_histogram import bucket_of, microseconds
from jobs.stores.damage import numbers, sound
from jobs.stores.packing import encode_completion, unpack_prompts
from jobs.stores.redis.backups import may_work
from jobs.stores.redis.closing import ShardCloser
from jobs.stores.redis.poison import late_lease
from jobs.stores.redis.server import RedisServer
from jobs.stores.rules import lease_lost


class Leases:
    """Every change is fenced: with a token that is no longer the shard's it changes nothing."""

    def __init__(self, server: RedisServer, closer: ShardCloser) -> None:
        self._server = server
        self._closer = closer

    def lease(self, shard: ShardRef, worker_id: str, ttl_seconds: float, alone: bool) -> Lease | None:
        keys, index = JobKeys(shard.job_id), shard.index
        names = [keys.meta, keys.shard(index), keys.running(index), keys.open, keys.leases]
        reply = self._server.script("lease", names, index, worker_id, _ms(ttl_seconds), int(alone))
        if reply is None:
            return None
        token, attempt, lines = reply
        return Lease(shard=shard, worker_id=worker_id, token=token, attempt=attempt, lines_at_a_time=lines or None)

    def renew(self, leases: Sequence[Lease], ttl_seconds: float) -> list[LeaseStatus]:
        calls = []
        for lease in leases:
            keys, index = JobKeys(lease.shard.job_id), lease.shard.index
            calls.append(([keys.meta, keys.shard(index), keys.leases], (index, lease.token, _ms(ttl_seconds))))
        return [self._status(reply) for reply in self._server.scripts("renew", calls)]

    def _status(self, reply: Any) -> LeaseStatus:  # noqa: ANN401 - a script's reply
        """A lease of a job that is damaged is lost; the others are renewed."""
        with self._server.damage.skipping():
            return LeaseStatus(sound(reply))
        return LeaseStatus.LOST

    def release(self, lease: Lease) -> bool:
        keys, index = JobKeys(lease.shard.job_id), lease.shard.index
        names = [keys.meta, keys.shard(index), keys.open, keys.leases]
        reply = self._server.script("release", names, index, lease.token)
        if reply == "cancelled":
            self._closer.close_cancelled(lease.shard)
        return bool(reply == "open")

    def pending(self, lease: Lease) -> list[Prompt]:
        keys, index = JobKeys(lease.shard.job_id), lease.shard.index
        (held, backup), packed, done = self._server.pipeline(
            [
                ("HMGET", keys.shard(index), "held", "backup"),
                ("GET", keys.input(index)),
                ("HKEYS", keys.running(index)),
            ],
            atomic=True,
        )
        if not may_work(held, backup, lease.token):
            raise late_lease(self._server, lease)
        prompts, have = unpack_prompts(packed, keys.input(index)), numbers(keys.running(index), done)
        return [prompt for prompt in prompts if prompt.index not in have][: lease.lines_at_a_time]

    def write(self, lease: Lease, completions: Sequence[Completion]) -> int:
        keys, index = JobKeys(lease.shard.job_id), lease.shard.index
        names = [keys.meta, keys.shard(index), keys.running(index), keys.latency, keys.leases]
        facts = msgspec.msgpack.encode([_facts(completion) for completion in completions])
        lines = map(encode_completion, completions)
        reply = self._server.script("write", names, lease.token, facts, *lines)
        if reply == "lost":
            raise lease_lost(lease)
        return int(reply)


def _facts(completion: Completion) -> tuple[str | int | None, ...]:
    """What `write.lua` counts of one line."""
    usage, latency = completion.usage, completion.latency
    return (
        completion.index,
        completion.finish_reason or "",
        usage.prompt_tokens if usage else 0,
        usage.completion_tokens if usage else 0,
        *(_measured(latency) if latency else ()),
    )


def _measured(latency: Latency) -> list[int | None]:
    """The bucket and the microseconds of each latency; None for what was not measured."""
    numbers: list[int | None] = []
    for value in (latency.ttft_ms, latency.tpot_ms, latency.e2el_ms):
        numbers += (None, None) if value is None else (bucket_of(value), microseconds(value))
    return numbers


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
