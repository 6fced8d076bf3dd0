"""The results store in Redis (or Valkey): a `JobStore` made of small parts, one for each side of the work."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec
import redis

from jobs.keys import JobKeys
from jobs.records.completion import Completion
from jobs.records.job import Job, Lease, LeaseStatus, NewJob, ShardRef
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import ShardStats, TimelineSample
from jobs.records.worker_report import WorkerReport
from jobs.stats.stats import JobStats
from jobs.stores.damage import Damage
from jobs.stores.redis.backups import Backups
from jobs.stores.redis.claims import Claims
from jobs.stores.redis.closing import ShardCloser
from jobs.stores.redis.deletion import Deletion
from jobs.stores.redis.ending import Cancellation, Retry
from jobs.stores.redis.extension import Extension
from jobs.stores.redis.fleet import Fleet, RunMemory
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.leases import Leases
from jobs.stores.redis.pausing import Pausing
from jobs.stores.redis.reading import JobReader
from jobs.stores.redis.server import RedisServer
from jobs.stores.redis.submission import Submission
from jobs.stores.redis.sweep import Sweep
from jobs.stores.redis.turns import Turns
from jobs.stores.rules import TIMELINE_SECONDS


class RedisJobStore:
    """`JobStore` says what each method does. Thread-safe; `jobs/keys.py` has the layout.

    Every change of several keys of a job is one Lua script, fenced by the shard's token where a worker makes it.
    """

    def __init__(self, client: redis.Redis) -> None:
        """`client` must not decode replies; `jobs.stores.connect` makes one with the right options."""
        self._server = RedisServer(client)
        self._index = JobIndex(self._server)
        self._deletion = Deletion(self._server, self._index)
        self._reader = JobReader(self._server, self._index, self._deletion)
        self._submission = Submission(self._server, self._index, self._reader)
        self._claims = Claims(self._server, self._reader, self._deletion)
        closer = ShardCloser(self._server)
        self._closer = closer
        self._cancellation = Cancellation(self._server, self._index, self._reader, closer)
        self._extension = Extension(self._server, self._index)
        self._pausing = Pausing(self._server, self._index, self._reader)
        self._retry = Retry(self._server, self._index, self._reader)
        self._leases = Leases(self._server, closer)
        self._turns = Turns(self._server, self._index, self._leases)
        self._backups = Backups(self._server, self._index)
        self._sweep = Sweep(self._server, self._index, closer)
        self._fleet = Fleet(self._server)
        self._runs = RunMemory(self._server)

    # --- the client's side -------------------------------------------------------------------------------------

    def ping(self) -> None:
        self._server.run("PING")

    def damage(self) -> Damage:
        return self._server.damage

    def create(self, spec: NewJob) -> None:
        self._submission.create(spec)

    def add_shard(self, shard: ShardRef, prompts: Sequence[Prompt], known: Sequence[Completion] = ()) -> None:
        self._submission.add_shard(shard, prompts, known)

    def open(self, job_id: str) -> list[ShardRef]:
        return self._submission.open(job_id)

    def submitted(self, key: str) -> Job | None:
        return self._claims.find(key)

    def claim(self, job_id: str) -> str:
        return self._claims.claim(job_id)

    def job(self, job_id: str) -> Job:
        return self._reader.job(job_id)

    def jobs(self, limit: int = 100) -> list[Job]:
        return self._reader.jobs(limit)

    def stats(self, job_id: str) -> JobStats:
        return self._reader.stats(job_id)

    def timeline(self, job_id: str) -> list[TimelineSample]:
        return self._reader.timeline(job_id)

    def results(self, job_id: str) -> Iterator[Completion]:
        return self._reader.results(job_id)

    def lines(self, shard: ShardRef) -> list[tuple[Prompt, Completion | None]]:
        return self._reader.lines(shard)

    def request_cancel(self, job_id: str) -> Job:
        return self._cancellation.request(job_id)

    def extend(self, spec: NewJob, shards: Sequence[Sequence[Prompt]]) -> list[ShardRef]:
        return self._extension.extend(spec, shards)

    def pause(self, job_id: str) -> Job:
        return self._pausing.pause(job_id)

    def resume(self, job_id: str) -> list[ShardRef]:
        return self._pausing.resume(job_id)

    def retry(self, job_id: str) -> list[ShardRef]:
        return self._retry.retry(job_id)

    def reopen_lost(self, job_id: str) -> list[ShardRef]:
        return self._retry.reopen_lost(job_id)

    def delete(self, job_id: str) -> None:
        self._deletion.delete(job_id)

    def find_run(self, fingerprint: str) -> str | None:
        return self._runs.find(fingerprint)

    def remember_run(self, fingerprint: str, job_id: str) -> None:
        self._runs.remember(fingerprint, job_id)

    # --- the worker's side -------------------------------------------------------------------------------------

    def lease(self, shard: ShardRef, worker_id: str, ttl_seconds: float, alone: bool = False) -> Lease | None:
        return self._leases.lease(shard, worker_id, ttl_seconds, alone)

    def lease_next(
        self, model: str, worker_id: str, ttl_seconds: float, passing_over: Collection[str] = ()
    ) -> Lease | ShardRef | None:
        return self._turns.lease_next(model, worker_id, ttl_seconds, passing_over)

    def wait_for_news(self, model: str, since: str, timeout_seconds: float) -> str:
        return self._index.wait_for_news(model, since, timeout_seconds)

    def back_up(self, model: str, worker_id: str, ttl_seconds: float, least_seconds: float) -> Lease | None:
        return self._backups.back_up(model, worker_id, ttl_seconds, least_seconds)

    def renew(self, leases: Sequence[Lease], ttl_seconds: float) -> list[LeaseStatus]:
        return self._leases.renew(leases, ttl_seconds)

    def release(self, lease: Lease) -> bool:
        return self._leases.release(lease)

    def pending(self, lease: Lease) -> list[Prompt]:
        return self._leases.pending(lease)

    def write(self, lease: Lease, completions: Sequence[Completion]) -> int:
        return self._leases.write(lease, completions)

    def finish_shard(self, lease: Lease, stats: ShardStats) -> bool:
        return self._closer.finish(lease, stats)

    def give_up(self, lease: Lease, why: str) -> bool:
        return self._closer.give_up(lease, why)

    def stranded(self, model: str, limit: int, expired_only: bool = False) -> list[ShardRef]:
        return self._sweep.stranded(model, limit, expired_only)

    def add_timeline(self, job_id: str, sample: TimelineSample) -> None:
        keys = JobKeys(job_id)
        names = [keys.meta, keys.timeline]
        self._server.script("add_timeline", names, msgspec.json.encode(sample), TIMELINE_SECONDS * 1000)

    def report_worker(self, report: WorkerReport, ttl_seconds: float) -> None:
        self._fleet.report_worker(report, ttl_seconds)

    def forget_worker(self, worker_id: str) -> None:
        self._fleet.forget_worker(worker_id)

    def workers(self) -> list[WorkerReport]:
        return self._fleet.workers()

    def lost_workers(self) -> list[WorkerReport]:
        return self._fleet.lost_workers()

    def publish_model(self, card: ModelCard) -> None:
        self._fleet.publish_model(card)

    def model(self, name: str) -> ModelCard | None:
        return self._fleet.model(name)
