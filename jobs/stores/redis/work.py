"""Lease shards, renew and release leases, and write results."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from jobs import keys
from jobs.keys import JobKeys
from jobs.records.completion import Completion, Latency
from jobs.records.job import Lease, LeaseStatus, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import ShardStats
from jobs.stats.latency_histogram import bucket_of, microseconds
from jobs.stores.damage import numbers, sound
from jobs.stores.packing import encode_completion, unpack_prompts
from jobs.stores.redis.closing import ShardCloser, late_lease, may_work
from jobs.stores.redis.connection.server import RedisServer, newest_id
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.next_shard import NextShard, SlowShards
from jobs.stores.rules import lease_lost
from jobs.stores.worker_facets import Leased, RunAlone


class RedisShardWork:
    """Implements `ShardWork`. Every change is fenced: an outdated token changes nothing."""

    def __init__(self, server: RedisServer, index: JobIndex, closer: ShardCloser) -> None:
        self._server = server
        self._closer = closer
        self._next_shard = NextShard(server, index)
        self._slow_shards = SlowShards(server, index)

    def lease(self, shard: ShardRef, worker_id: str, ttl_seconds: float, isolated: bool = False) -> Lease | None:
        job, index = JobKeys(shard.job_id), shard.index
        names = [job.meta, job.shard(index), job.running(index), job.open, job.leases]
        reply = self._server.script("lease", names, index, worker_id, _ms(ttl_seconds), int(isolated))
        if reply is None:
            return None
        token, attempt, lines = reply
        return Lease(shard=shard, worker_id=worker_id, token=token, attempt=attempt, lines_at_a_time=lines or None)

    def lease_next(
        self, model: str, worker_id: str, ttl_seconds: float, passing_over: Collection[str] = ()
    ) -> Leased | RunAlone | None:
        return self._next_shard.take(model, passing_over, lambda shard: self.lease(shard, worker_id, ttl_seconds))

    def try_backup(self, model: str, worker_id: str, ttl_seconds: float, min_seconds: float) -> Lease | None:
        # One round trip, after the search for slow shards.
        for shard in self._slow_shards.held_for(min_seconds, model, worker_id):
            job = JobKeys(shard.job_id)
            args = (shard.index, worker_id, _ms(ttl_seconds), _ms(min_seconds))
            with self._server.damage.skipping():
                reply = self._server.script("try_backup", [job.meta, job.shard(shard.index), job.leases], *args)
                if reply is not None:
                    token, attempt = reply
                    return Lease(shard, worker_id, token, attempt, backup=True)
        return None

    def wait_for_notification(self, model: str, since: str | None, timeout_seconds: float) -> str | None:
        # A notification is the id of an entry in the model's stream.
        block_ms = max(1, _ms(timeout_seconds))  # 0 would block for ever
        reply = self._server.run("XREAD", "BLOCK", block_ms, "STREAMS", keys.notification(model), since or "0")
        return newest_id(reply) or since

    def renew(self, leases: Sequence[Lease], ttl_seconds: float) -> list[LeaseStatus]:
        calls = []
        for lease in leases:
            job, index = JobKeys(lease.shard.job_id), lease.shard.index
            calls.append(([job.meta, job.shard(index), job.leases], (index, lease.token, _ms(ttl_seconds))))
        return [self._status(reply) for reply in self._server.scripts("renew", calls)]

    def _status(self, reply: Any) -> LeaseStatus:  # noqa: ANN401 - a script's reply
        """Return a lease's status. The lease of a damaged job counts as lost, so that the other leases are renewed."""
        with self._server.damage.skipping():
            return LeaseStatus(sound(reply))
        return LeaseStatus.LOST

    def release(self, lease: Lease) -> bool:
        job, index = JobKeys(lease.shard.job_id), lease.shard.index
        names = [job.meta, job.shard(index), job.open, job.leases]
        reply = self._server.script("release", names, index, lease.token)
        if reply == "cancelled":
            self._closer.close_unheld(lease.shard)
        return bool(reply == "open")

    def pending(self, lease: Lease) -> list[Prompt]:
        job, index = JobKeys(lease.shard.job_id), lease.shard.index
        (held, backup), packed, done = self._server.pipeline(
            [
                ("HMGET", job.shard(index), "held", "backup"),
                ("GET", job.input(index)),
                ("HKEYS", job.running(index)),
            ],
            atomic=True,
        )
        if not may_work(held, backup, lease.token):
            raise late_lease(self._server, lease)
        prompts, have = unpack_prompts(packed, job.input(index)), numbers(job.running(index), done)
        return [prompt for prompt in prompts if prompt.index not in have][: lease.lines_at_a_time]

    def write(self, lease: Lease, completions: Sequence[Completion]) -> int:
        job, index = JobKeys(lease.shard.job_id), lease.shard.index
        names = [job.meta, job.shard(index), job.running(index), job.latency, job.leases, job.history, job.engine]
        facts = msgspec.msgpack.encode([_facts(completion) for completion in completions])
        lines = map(encode_completion, completions)
        reply = self._server.script("write", names, lease.token, facts, lease.worker_id, *lines)
        if reply == "lost":
            raise lease_lost(lease)
        return int(reply)

    def finish_shard(self, lease: Lease, stats: ShardStats) -> bool:
        return self._closer.close_held(lease, stats)

    def give_up(self, lease: Lease, why: str) -> bool:
        job, index = JobKeys(lease.shard.job_id), lease.shard.index
        names = [job.meta, job.shard(index), job.open, job.leases]
        reply = self._server.script("give_up", names, index, lease.token, why)
        if reply == "lost":
            raise late_lease(self._server, lease)
        return bool(reply == "ended")


def _facts(completion: Completion) -> tuple[str | int | dict[str, int] | None, ...]:
    """Return the facts of one line that `write.lua` counts."""
    usage, latency = completion.usage, completion.latency
    return (
        completion.index,
        completion.error is not None,
        completion.error.code if completion.error else completion.finish_reason or "",
        usage.prompt_tokens if usage else 0,
        usage.completion_tokens if usage else 0,
        completion.amounts(),
        *(_measured(latency) if latency else ()),
    )


def _measured(latency: Latency) -> list[int | None]:
    """Return bucket and microseconds of TTFT, TPOT and E2EL. Both are None if the latency was not measured."""
    numbers: list[int | None] = []
    for value in (latency.ttft_ms, latency.tpot_ms, latency.e2el_ms):
        numbers += (None, None) if value is None else (bucket_of(value), microseconds(value))
    return numbers


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
