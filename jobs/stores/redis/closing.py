"""How a shard ends: its results become one compressed value, and lines without a result get an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from jobs.keys import JobKeys
from jobs.records.job import Lease, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import ShardStats
from jobs.stats.stats_counters import EngineTotals, worker_share
from jobs.stores.damage import numbers, reading
from jobs.stores.packing import encode_completion, pack_completions, unpack_prompts
from jobs.stores.redis.backups import may_work
from jobs.stores.redis.job_record import DELETING
from jobs.stores.redis.poison import late_lease
from jobs.stores.redis.server import RedisServer
from jobs.stores.rules import cancelled_line, expired_line


@dataclass(frozen=True)
class _Closing:
    """A shard's results as they were read, and what their compacted form would be."""

    lines_read: int  # results that were there: the script refuses if more have come in since
    packed: bytes
    errors: int  # lines that had no result


class ShardCloser:
    """Closes shards; whoever comes second, or too late, changes nothing."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def finish(self, lease: Lease, stats: ShardStats) -> bool:
        """A worker's own shard. Returns whether this ended the job. Raises `LeaseLost`."""
        reply = "changed"
        while reply == "changed":
            closing = self._prepare_finish(lease)
            args = (lease.shard.index, lease.token, closing.lines_read, closing.packed, closing.errors)
            names = [*self._names(lease.shard), JobKeys(lease.shard.job_id).engine]
            reply = self._server.script("finish_shard", names, *args, *_engine_args(stats))
        if reply == "lost":
            raise late_lease(self._server, lease)
        return bool(reply == "ended")

    def close_cancelled(self, shard: ShardRef) -> bool:
        """A shard that no live worker holds, of a job that ends early. Returns whether this ended the job."""
        keys, reply = JobKeys(shard.job_id), "changed"
        while reply == "changed":
            running, source, token, (state, expired) = self._server.pipeline(
                [
                    ("HGETALL", keys.running(shard.index)),
                    ("GET", keys.input(shard.index)),
                    ("HGET", keys.shard(shard.index), "token"),
                    ("HMGET", keys.meta, "state", "expired"),
                ],
                atomic=True,
            )
            if state in (None, DELETING.encode()):  # deleted meanwhile
                return False
            closing = self._closing(shard, running, source, expired is not None)
            args = (shard.index, closing.lines_read, closing.packed, closing.errors, token or "")
            reply = self._server.script("close_unheld", self._names(shard), *args)
        return bool(reply == "ended")

    def _prepare_finish(self, lease: Lease) -> _Closing:
        keys, index = JobKeys(lease.shard.job_id), lease.shard.index
        running, (held, backup, lines), (cancel, expired) = self._server.pipeline(
            [
                ("HGETALL", keys.running(index)),
                ("HMGET", keys.shard(index), "held", "backup", "lines"),
                ("HMGET", keys.meta, "cancel_requested", "expired"),
            ],
            atomic=True,
        )
        if not may_work(held, backup, lease.token):
            raise late_lease(self._server, lease)
        with reading(keys.shard(index)):
            num_lines = int(lines)
        if len(running) == num_lines:
            return _closing(keys.running(index), running, [], expired=False)
        if cancel != b"1":
            raise ValueError(f"shard {index} of job {lease.shard.job_id} has {len(running)} of {num_lines} results")
        return self._closing(lease.shard, running, self._server.run("GET", keys.input(index)), expired is not None)

    def give_up(self, lease: Lease, why: str) -> bool:
        """A shard that cannot be run. Returns whether this ended the job. Raises `LeaseLost`."""
        keys, index = JobKeys(lease.shard.job_id), lease.shard.index
        names = [keys.meta, keys.shard(index), keys.open, keys.leases]
        reply = self._server.script("give_up", names, index, lease.token, why)
        if reply == "lost":
            raise late_lease(self._server, lease)
        return bool(reply == "ended")

    def _closing(
        self, shard: ShardRef, running: Mapping[bytes, bytes], source: bytes | None, expired: bool
    ) -> _Closing:
        """With an error for each line that has no result, if the shard's input says which lines it has."""
        keys, prompts = JobKeys(shard.job_id), []
        with self._server.damage.skipping():
            prompts = unpack_prompts(source, keys.input(shard.index))
        return _closing(keys.running(shard.index), running, prompts, expired)

    @staticmethod
    def _names(shard: ShardRef) -> list[str]:
        keys, index = JobKeys(shard.job_id), shard.index
        return [keys.meta, keys.shard(index), keys.running(index), keys.results(index), keys.open, keys.leases]


def _closing(key: str, running: Mapping[bytes, bytes], prompts: Sequence[Prompt], expired: bool) -> _Closing:
    """The compacted form of what was read, with an error for each of `prompts` that has no result."""
    error_line = expired_line if expired else cancelled_line
    encoded = dict(zip(numbers(key, running), running.values(), strict=True))
    missing = [prompt for prompt in prompts if prompt.index not in encoded]
    encoded.update({prompt.index: encode_completion(error_line(prompt)) for prompt in missing})
    return _Closing(lines_read=len(running), packed=pack_completions(encoded), errors=len(missing))


def _engine_args(stats: ShardStats) -> list[str | int | float | bytes]:
    """What `finish_shard.lua` adds to the job's `engine` hash: sums, '', maxima."""
    totals = EngineTotals()
    totals.add(stats)
    worker = stats.worker_id
    facts = msgspec.structs.replace(worker_share(stats), output_tokens=0, peak_memory_bytes=0)  # kept as counters
    return [
        worker,
        msgspec.json.encode(facts),
        *("prefill_us", totals.prefill_us),
        *("decode_us", totals.decode_us),
        *("decode_steps_e6", totals.decode_steps_e6),
        *("decode_batch_sum_e6", totals.decode_batch_sum_e6),
        *("cache_short_steps_e6", totals.cache_short_steps_e6),
        *("cache_short_running_sum_e6", totals.cache_short_running_sum_e6),
        *("cache_short_waiting_sum_e6", totals.cache_short_waiting_sum_e6),
        *(f"output_tokens:{worker}", stats.output_tokens),
        "",
        *("kv_cache_usage_peak", stats.kv_cache_usage_peak),
        *("kv_cache_bytes_wanted", stats.kv_cache_bytes_wanted),
        *(f"peak_memory_bytes:{worker}", stats.peak_memory_bytes),
    ]
