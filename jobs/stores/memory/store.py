"""The results store in a dictionary: for tests of what stands on a store, and its rules stated plainly."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from threading import RLock

from jobs.records.completion import Completion
from jobs.records.job import Job, JobState, Lease, LeaseStatus, NewJob, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import ShardStats, TimelineSample
from jobs.stats.stats import JobStats
from jobs.stats.stats_from_counters import job_stats
from jobs.stores.damage import Damage
from jobs.stores.memory.fleet import MemoryFleet
from jobs.stores.memory.job import MemoryJob
from jobs.stores.memory.jobs import MemoryJobs
from jobs.stores.memory.news import MemoryNews
from jobs.stores.rules import TIMELINE_SECONDS, id_taken, never_opened, not_ended, not_extensible, not_validating


class MemoryJobStore(MemoryJobs, MemoryFleet):
    """`JobStore` says what each method does. Thread-safe; everything is lost with the process.

    Args:
        clock: Seconds since the epoch; decides leases as a server's clock would.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        MemoryJobs.__init__(self, clock)
        MemoryFleet.__init__(self, clock)
        self._lock = RLock()
        self._runs: dict[str, str] = {}
        self._claims: dict[str, str] = {}  # submission key -> job id
        self._news = MemoryNews()
        self._damage = Damage()  # it stays empty: nothing is stored in a form that could be damaged

    # --- the client's side -------------------------------------------------------------------------------------

    def ping(self) -> None:
        """It is always there."""

    def damage(self) -> Damage:
        return self._damage

    def create(self, spec: NewJob) -> None:
        with self._lock:
            if self._jobs.setdefault(spec.id, MemoryJob(spec)).spec != spec:
                raise id_taken(spec.id)

    def add_shard(self, shard: ShardRef, prompts: Sequence[Prompt], known: Sequence[Completion] = ()) -> None:
        with self._lock:
            job = self._validating(shard.job_id)
            if job.state is not JobState.VALIDATING:
                raise not_validating(shard.job_id, job.state)
            job.add(shard.index, prompts, known)

    def open(self, job_id: str) -> list[ShardRef]:
        with self._lock:
            job = self._validating(job_id)
            if job.state is JobState.VALIDATING:
                if len(job.shards) != job.spec.num_shards:
                    raise ValueError(f"job {job_id} has not all of its {job.spec.num_shards} shards")
                job.state, job.counters.opened_at = JobState.QUEUED, self._clock()
                if job.spec.deadline_seconds is not None:
                    job.deadline_at = self._clock() + job.spec.deadline_seconds
                job.end_if_all_done(self._clock())
            if not job.state.ended:
                self._news.add(job.spec.model)
            return [ShardRef(job_id, index) for index in job.waiting()]

    def submitted(self, key: str) -> Job | None:
        with self._lock:
            holder = self._jobs.get(self._claims.get(key, ""))
            job = holder.snapshot() if holder else None
            return job if job and job.stands else None

    def claim(self, job_id: str) -> str:
        with self._lock:
            key = self._job(job_id).spec.key
            if key is None:
                return job_id
            if (standing := self.submitted(key)) is not None:
                return standing.id
            holder = self._jobs.get(self._claims.get(key, ""))
            if holder is not None and holder.spec.id != job_id and holder.state is JobState.VALIDATING:
                del self._jobs[holder.spec.id]
            self._claims[key] = job_id
            return job_id

    def job(self, job_id: str) -> Job:
        with self._lock:
            return self._job(job_id).snapshot()

    def jobs(self, limit: int = 100) -> list[Job]:
        with self._lock:
            newest = sorted(self._jobs.values(), key=lambda job: (job.spec.created_at, job.spec.id), reverse=True)
            return [job.snapshot() for job in newest[:limit]]

    def stats(self, job_id: str) -> JobStats:
        with self._lock:
            job = self._job(job_id)
            return job_stats(job.snapshot(), job.counters)

    def timeline(self, job_id: str) -> list[TimelineSample]:
        with self._lock:
            return list(self._job(job_id).timeline)

    def results(self, job_id: str) -> Iterator[Completion]:
        with self._lock:
            return iter(self._job(job_id).results())

    def lines(self, shard: ShardRef) -> list[tuple[Prompt, Completion | None]]:
        with self._lock:
            lines = self._job(shard.job_id).shards[shard.index]
            return [(prompt, lines.results.get(prompt.index)) for prompt in lines.prompts]

    def request_cancel(self, job_id: str) -> Job:
        with self._lock:
            job = self._job(job_id)
            if not job.state.ended:
                job.cancel_requested = not job.deadline_passed
                self._close_unheld(job)
            return job.snapshot()

    def extend(self, spec: NewJob, shards: Sequence[Sequence[Prompt]]) -> list[ShardRef]:
        with self._lock:
            job = self._job(spec.id)
            if job.state not in (JobState.QUEUED, JobState.IN_PROGRESS, JobState.COMPLETED):
                raise not_extensible(spec.id, job.state)
            if job.ending or job.spec.num_lines != spec.num_lines:
                raise not_extensible(spec.id, "ending" if job.ending else "changed")
            self._news.add(spec.model)
            return [ShardRef(spec.id, index) for index in job.extend(shards)]

    def pause(self, job_id: str) -> Job:
        with self._lock:
            job = self._running(job_id, "paused")
            job.paused = True
            return job.snapshot()

    def resume(self, job_id: str) -> list[ShardRef]:
        with self._lock:
            job = self._running(job_id, "resumed")
            job.paused = False
            self._news.add(job.spec.model)
            return [ShardRef(job_id, index) for index in job.waiting()]

    def retry(self, job_id: str) -> list[ShardRef]:
        with self._lock:
            job = self._ended(job_id)
            if job.counters.opened_at is None:
                raise never_opened(job_id)
            self._news.add(job.spec.model)
            return [ShardRef(job_id, index) for index in sorted({*job.reopen_lost(), *job.reopen_failed()})]

    def reopen_lost(self, job_id: str) -> list[ShardRef]:
        with self._lock:
            job = self._ended(job_id)
            self._news.add(job.spec.model)
            return [ShardRef(job_id, index) for index in job.reopen_lost()]

    def delete(self, job_id: str) -> None:
        with self._lock:
            job = self._job(job_id)
            if job.state in (JobState.QUEUED, JobState.IN_PROGRESS):
                raise not_ended(job_id, job.state, "deleted")
            del self._jobs[job_id]

    def find_run(self, fingerprint: str) -> str | None:
        with self._lock:
            job_id = self._runs.get(fingerprint)
            return job_id if job_id in self._jobs else None

    def remember_run(self, fingerprint: str, job_id: str) -> None:
        with self._lock:
            self._job(job_id)
            self._runs[fingerprint] = job_id

    # --- the worker's side -------------------------------------------------------------------------------------

    def lease(self, shard: ShardRef, worker_id: str, ttl_seconds: float, alone: bool = False) -> Lease | None:
        with self._lock:
            job = self._jobs.get(shard.job_id)
            return job.take(shard.index, worker_id, self._clock(), ttl_seconds, alone) if job else None

    def lease_next(
        self, model: str, worker_id: str, ttl_seconds: float, passing_over: Collection[str] = ()
    ) -> Lease | ShardRef | None:
        with self._lock:
            now, floor = self._clock(), -math.inf
            for job in self._unfinished(model):
                waiting = job.waiting() if job.runnable and not job.late(now) else []
                if waiting and job.spec.id in passing_over:
                    floor = job.spec.priority
                elif waiting and job.spec.priority < floor:
                    return None
                elif waiting:
                    job.served_at = now
                    lease = job.take(waiting[0], worker_id, now, ttl_seconds, alone=False)
                    return lease or ShardRef(job.spec.id, waiting[0])
            return None

    def wait_for_news(self, model: str, since: str, timeout_seconds: float) -> str:
        return self._news.wait(model, since, timeout_seconds)

    def back_up(self, model: str, worker_id: str, ttl_seconds: float, least_seconds: float) -> Lease | None:
        with self._lock:
            for job in self._unfinished(model):
                for index in job.shards if job.runnable and not job.waiting() else ():
                    if lease := self._back_up(ShardRef(job.spec.id, index), worker_id, ttl_seconds, least_seconds):
                        return lease
            return None

    def renew(self, leases: Sequence[Lease], ttl_seconds: float) -> list[LeaseStatus]:
        return [self._renew(lease, ttl_seconds) for lease in leases]

    def _renew(self, lease: Lease, ttl_seconds: float) -> LeaseStatus:
        with self._lock:
            shard = self._held(lease)
            if shard is None:
                return LeaseStatus.LOST
            job = self._jobs[lease.shard.job_id]
            if lease.backup:
                shard.backup_until = self._clock() + ttl_seconds
            else:
                job.count_time(self._clock())
                shard.expires_at = self._clock() + shard.time_to_live(ttl_seconds)
            if job.ending:
                return LeaseStatus.CANCELLED
            return LeaseStatus.PAUSED if job.paused else LeaseStatus.HELD

    def release(self, lease: Lease) -> bool:
        with self._lock:
            shard = self._held(lease)
            if shard is None or lease.backup:
                if shard is not None:
                    shard.backup = None
                return False
            job = self._jobs[lease.shard.job_id]
            job.count_time(self._clock())
            shard.unhold()
            if job.ending:
                self._close_unheld(job)
            return not job.ending and not job.paused

    def pending(self, lease: Lease) -> list[Prompt]:
        with self._lock:
            return self._own(lease).pending()[: lease.lines_at_a_time]

    def write(self, lease: Lease, completions: Sequence[Completion]) -> int:
        with self._lock:
            shard = self._own(lease)
            return self._jobs[lease.shard.job_id].write(shard, list(completions), self._clock())

    def finish_shard(self, lease: Lease, stats: ShardStats) -> bool:
        with self._lock:
            shard = self._own(lease)
            job, missing = self._jobs[lease.shard.job_id], shard.pending()
            if missing and not job.ending:
                raise ValueError(f"shard {lease.shard.index} of job {job.spec.id} lacks {len(missing)} results")
            job.counters.add_shard(stats)
            job.held_seconds.append(self._clock() - shard.leased_at)
            return job.close(shard, [job.ending_line(prompt) for prompt in missing], self._clock())

    def give_up(self, lease: Lease, why: str) -> bool:
        with self._lock:
            shard = self._own(lease)
            job = self._jobs[lease.shard.job_id]
            job.error = job.error or why
            return job.close(shard, [], self._clock())

    def stranded(self, model: str, limit: int, expired_only: bool = False) -> list[ShardRef]:
        with self._lock:
            lost: list[ShardRef] = []
            waiting: list[ShardRef] = []
            for job in self._unfinished(model):
                if job.late(self._clock()) and not job.ending:
                    job.deadline_passed = True
                if job.ending:
                    self._close_unheld(job)
                elif job.state is not JobState.VALIDATING:
                    dropped = self._drop_expired(job, limit - len(lost))
                    if not job.paused:
                        lost += dropped
                        waiting += [ShardRef(job.spec.id, index) for index in job.waiting()]
            found = lost if expired_only else list(dict.fromkeys(lost + waiting))
            return found[:limit]

    def add_timeline(self, job_id: str, sample: TimelineSample) -> None:
        with self._lock:
            if job := self._jobs.get(job_id):
                oldest = self._clock() - TIMELINE_SECONDS
                job.timeline = [*(known for known in job.timeline if known.at >= oldest), sample]
