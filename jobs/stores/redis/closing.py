"""Close shards: compress the results into one value, and give an error to each line without a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from jobs.errors import LeaseLost
from jobs.keys import JobKeys
from jobs.records.completion import ErrorCode
from jobs.records.job import Lease, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import ShardStats
from jobs.stats.stats_counters import EngineTotals, worker_share
from jobs.stores.damage import numbers, reading
from jobs.stores.packing import encode_completion, pack_completions, unpack_prompts
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.job_record import DELETING
from jobs.stores.rules import cancelled_line, expired_line, lease_lost


def may_work(held: bytes | None, backup: bytes | None, token: int) -> bool:
    """Return whether a token permits work: the holder's does, and the backup's does while there is a holder.

    `scripts/common.lua` has the same rule.
    """
    return held is not None and token in (int(held), int(backup or 0))


def late_lease(server: RedisServer, lease: Lease) -> LeaseLost:
    """Return the error for a worker that uses a lease it no longer has.

    The worker is alive, so the shard did not crash it. The call therefore decrements the shard's count of crashes.
    """
    server.script("uncount_crash", [JobKeys(lease.shard.job_id).shard(lease.shard.index)], lease.token)
    return lease_lost(lease)


@dataclass(frozen=True)
class _Closing:
    """The compressed results of a shard, made from the results that were read."""

    lines_read: int  # number of results read; the script refuses if more have come in since
    packed: bytes
    errors: int  # number of lines without a result
    error_code: ErrorCode  # code of these lines

    @property
    def args(self) -> tuple[int, bytes, int, str]:
        """These facts as arguments of `finish_shard.lua` and `close_unheld.lua`."""
        return self.lines_read, self.packed, self.errors, self.error_code


class ShardCloser:
    """Closes shards. A second or late call for the same shard changes nothing."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def close_held(self, lease: Lease, stats: ShardStats) -> bool:
        """Close a shard that the worker holds. Returns whether this ended the job. Raises `LeaseLost`."""
        reply = "changed"
        while reply == "changed":
            closing = self._prepare(lease)
            args = (lease.shard.index, lease.token, *closing.args)
            names = [*self._names(lease.shard), JobKeys(lease.shard.job_id).engine]
            reply = self._server.script("finish_shard", names, *args, *_engine_args(stats))
        if reply == "lost":
            raise late_lease(self._server, lease)
        return bool(reply == "ended")

    def close_unheld(self, shard: ShardRef) -> bool:
        """Close a shard that no live worker holds, in a job that ends early. Returns whether this ended the job."""
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
            args = (shard.index, *closing.args, token or "")
            reply = self._server.script("close_unheld", self._names(shard), *args)
        return bool(reply == "ended")

    def _prepare(self, lease: Lease) -> _Closing:
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

    def _closing(
        self, shard: ShardRef, running: Mapping[bytes, bytes], source: bytes | None, expired: bool
    ) -> _Closing:
        """Return the compacted results, with an error for each line without a result.

        If the shard's input is damaged, nobody knows these lines, and they get no error.
        """
        keys, prompts = JobKeys(shard.job_id), []
        with self._server.damage.skipping():
            prompts = unpack_prompts(source, keys.input(shard.index))
        return _closing(keys.running(shard.index), running, prompts, expired)

    @staticmethod
    def _names(shard: ShardRef) -> list[str]:
        keys, index = JobKeys(shard.job_id), shard.index
        return [keys.meta, keys.shard(index), keys.running(index), keys.results(index), keys.open, keys.leases]


def _closing(key: str, running: Mapping[bytes, bytes], prompts: Sequence[Prompt], expired: bool) -> _Closing:
    """Return the compacted results, with an error for each of `prompts` that has no result."""
    error_line, error_code = (expired_line, ErrorCode.EXPIRED) if expired else (cancelled_line, ErrorCode.CANCELLED)
    encoded = dict(zip(numbers(key, running), running.values(), strict=True))
    missing = [prompt for prompt in prompts if prompt.index not in encoded]
    encoded.update({prompt.index: encode_completion(error_line(prompt)) for prompt in missing})
    return _Closing(len(running), pack_completions(encoded), len(missing), error_code)


def _engine_args(stats: ShardStats) -> list[str | int | float | bytes]:
    """Return the last arguments of `finish_shard.lua`.

    These are the worker's id, its facts as JSON, field and amount of each sum, '', field and value of each maximum.
    """
    totals = EngineTotals()
    totals.add(stats)
    worker = stats.worker_id
    facts = msgspec.structs.replace(worker_share(stats), peak_memory_bytes=0)  # a maximum, in a field of its own
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
        *("cached_tokens", totals.cached_tokens),
        *("drafted_tokens", totals.drafted_tokens),
        *("accepted_tokens", totals.accepted_tokens),
        "",
        *("kv_cache_usage_peak", stats.kv_cache_usage_peak),
        *("kv_cache_bytes_wanted", stats.kv_cache_bytes_wanted),
        *(f"peak_memory_bytes:{worker}", stats.peak_memory_bytes),
    ]
