"""One job of the memory store, with the rules of a job's life in plain Python."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

from jobs.records.completion import Completion
from jobs.records.job import Job, JobState, Lease, NewJob, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import TimelineSample
from jobs.stats.history import HistoryCounter
from jobs.stats.stats_counters import JobCounters
from jobs.stores.memory.shard import MemoryShard
from jobs.stores.recount import Recount
from jobs.stores.rules import SLOW_FACTOR, cancelled_line, expired_line, extended


@dataclass
class MemoryJob:
    """A job, its shards and its counters."""

    spec: NewJob
    served_at: float = 0.0  # time of its latest lease; of the jobs with one priority, the one with the smallest is next
    state: JobState = JobState.VALIDATING
    cancel_requested: bool = False
    paused: bool = False
    deadline_at: float | None = None
    deadline_passed: bool = False
    first_step_at: float | None = None
    last_line_at: float | None = None
    ended_at: float | None = None
    error: str | None = None  # why a shard could not be run
    busy_seconds: float = 0.0  # time up to `busy_at` in which a worker held at least one lease
    busy_at: float = 0.0
    shards: dict[int, MemoryShard] = field(default_factory=dict)
    counters: JobCounters = field(default_factory=JobCounters)
    reused: int = 0
    history: HistoryCounter = field(default_factory=HistoryCounter)
    timeline: list[TimelineSample] = field(default_factory=list)
    held_seconds: list[float] = field(default_factory=list)  # one value per shard that a worker has finished

    @property
    def runnable(self) -> bool:
        """True if workers may lease the job's shards."""
        return self.state in (JobState.QUEUED, JobState.IN_PROGRESS) and not self.ending and not self.paused

    @property
    def ending(self) -> bool:
        """True if the job ends early: its missing lines will not run."""
        return self.cancel_requested or self.deadline_passed

    def late(self, now: float) -> bool:
        """Return whether the job's deadline has passed."""
        return self.deadline_at is not None and self.deadline_at <= now

    def ending_line(self, prompt: Prompt) -> Completion:
        """Return the error result of a line that has no result when the job ends early."""
        return expired_line(prompt) if self.deadline_passed else cancelled_line(prompt)

    def waiting(self) -> list[int]:
        """Return the shards that need a worker. Quarantined shards come last."""
        unheld = [(index, shard) for index, shard in self.shards.items() if shard.lease is None and not shard.closed]
        return [index for index, _ in sorted(unheld, key=lambda item: (item[1].quarantined, item[0]))]

    def snapshot(self) -> Job:
        """Return the job in its current state. Its counts are computed from its lines."""
        results = [completion for shard in self.shards.values() for completion in shard.results.values()]
        usages = [completion.usage for completion in results if completion.usage is not None]
        return Job(
            spec=self.spec,
            state=self.state,
            cancel_requested=self.cancel_requested,
            completed=sum(completion.error is None for completion in results),
            failed=sum(completion.error is not None for completion in results),
            total_input_tokens=sum(usage.prompt_tokens for usage in usages),
            total_output_tokens=sum(usage.completion_tokens for usage in usages),
            shards_done=sum(shard.closed for shard in self.shards.values()),
            first_step_at=self.first_step_at,
            last_line_at=self.last_line_at,
            ended_at=self.ended_at,
            error=self.error,
            paused=self.paused,
            deadline_at=self.deadline_at,
            deadline_passed=self.deadline_passed,
            reused=self.reused,
        )

    def error_codes(self) -> dict[str, int]:
        """Return the number of failed lines per error code."""
        return Counter(str(completion.error.code) for completion in self.results() if completion.error is not None)

    def results(self) -> list[Completion]:
        """Return the finished lines in input order."""
        in_order = (self.shards[index].results for index in sorted(self.shards))
        return list(chain.from_iterable((found[line] for line in sorted(found)) for found in in_order))

    def add(self, index: int, prompts: Sequence[Prompt], known: Sequence[Completion]) -> None:
        """Store a shard. A shard that is stored already does not change."""
        if index in self.shards:
            return
        shard = MemoryShard(list(prompts), {completion.index: completion for completion in known})
        shard.closed = bool(known) and not shard.pending()
        self.shards[index] = shard
        self.reused += len(known)
        for completion in known:
            self.counters.add_finish(completion)
            if completion.usage is not None:
                self.counters.reused_input_tokens += completion.usage.prompt_tokens
                self.counters.reused_output_tokens += completion.usage.completion_tokens

    def take(self, index: int, worker_id: str, now: float, ttl_seconds: float, isolated: bool) -> Lease | None:
        """Lease a shard. Returns None if it cannot be leased now."""
        shard = self.shards.get(index)
        if (
            not self.runnable
            or self.late(now)
            or shard is None
            or shard.closed
            or (shard.lease is not None and not shard.expired(now))
        ):
            return None
        self.count_time(now)
        if shard.lease is not None:
            shard.drop_expired()
        if shard.quarantined and not isolated:
            return None
        shard.token += 1
        shard.attempts += 1
        self.counters.retried_shards += shard.attempts == 2
        shard.lease = Lease(
            ShardRef(self.spec.id, index), worker_id, shard.token, shard.attempts, shard.lines_at_a_time
        )
        shard.leased_at, shard.expires_at = now, now + shard.time_to_live(ttl_seconds)
        self.state = JobState.IN_PROGRESS
        self.first_step_at = now if self.first_step_at is None else self.first_step_at
        return shard.lease

    def is_slow(self, index: int, worker_id: str, now: float, min_seconds: float) -> bool:
        """Return whether another worker has held a shard for so long that this worker may run a backup."""
        shard = self.shards[index]
        if shard.lease is None or shard.expired(now) or shard.lease.worker_id == worker_id:
            return False
        if shard.quarantined or shard.crashes or (shard.backup and shard.backup_until > now):
            return False
        usual = sum(self.held_seconds) / len(self.held_seconds) if self.held_seconds else math.inf
        return now - shard.leased_at >= max(min_seconds, SLOW_FACTOR * usual)

    def drop_expired(self, limit: int, now: float) -> list[int]:
        """Take up to `limit` shards from lost workers. Returns their indexes."""
        self.count_time(now)
        dropped = [index for index, shard in sorted(self.shards.items()) if shard.expired(now)][:limit]
        for index in dropped:
            self.shards[index].drop_expired()
        return dropped

    def count_time(self, now: float) -> None:
        """Add to `busy_seconds` the time since the previous call in which at least one lease was held.

        Call it before every change of the leases: it assumes that none has changed since the previous call. A lease
        that nobody renewed counts up to its expiry.
        """
        expiries = [shard.expires_at for shard in self.shards.values() if shard.lease is not None]
        if expiries:
            self.busy_seconds += max(min(now, max(expiries)) - self.busy_at, 0.0)
        self.busy_at = now

    def write(self, lease: Lease, completions: list[Completion], now: float) -> int:
        """Store the results of lines that have none yet. Returns the number of new results."""
        shard = self.shards[lease.shard.index]
        new: list[Completion] = []
        for completion in completions:
            if completion.index not in shard.results:
                shard.results[completion.index] = completion
                self.counters.add_finish(completion)
                new.append(completion)
        if new:
            failed = sum(completion.error is not None for completion in new)
            tokens = sum(completion.usage.completion_tokens for completion in new if completion.usage is not None)
            self.history.add(now, len(new) - failed, failed, tokens)
            self.counters.add_output_tokens(lease.worker_id, tokens)
            shard.isolated_crashes.clear()  # these crashes concerned the line that was the first without a result
            self.count_time(now)
            self.counters.working_seconds = self.busy_seconds
            self.last_line_at = now
        return len(new)

    def close(self, shard: MemoryShard, missing: list[Completion], now: float) -> bool:
        """Close a shard with the results in `missing`, which are errors. Returns whether this ended the job."""
        shard.results.update({completion.index: completion for completion in missing})
        self.count_time(now)
        shard.unhold()
        shard.closed = True
        return self.end_if_all_done(now)

    def close_unheld(self, now: float) -> None:
        """Close the shards that no live worker holds, with an error for each line without a result."""
        for shard in self.shards.values():
            if not shard.closed and (shard.lease is None or shard.expired(now)):
                self.close(shard, [self.ending_line(prompt) for prompt in shard.pending()], now)
        self.end_if_all_done(now)

    def end_if_all_done(self, now: float) -> bool:
        """End the job if all its shards are closed. Returns whether this ended the job."""
        if not all(shard.closed for shard in self.shards.values()):
            return False
        if self.ending:
            self.state = JobState.EXPIRED if self.deadline_passed else JobState.CANCELLED
        else:
            self.state = JobState.FAILED if self.error else JobState.COMPLETED
        self.ended_at = now
        return True

    def extend(self, shards: Sequence[Sequence[Prompt]]) -> list[int]:
        """Add shards, and queue a completed job again. Returns the indexes of the new shards."""
        new = list(range(self.spec.num_shards, self.spec.num_shards + len(shards)))
        self.spec = extended(self.spec, shards)
        self.shards.update({index: MemoryShard(list(lines)) for index, lines in zip(new, shards, strict=True)})
        if self.state is JobState.COMPLETED:
            self.state, self.ended_at, self.deadline_at, self.paused = JobState.QUEUED, None, None, False
        return new

    def reopen_lost(self) -> list[int]:
        """Open the lines of an ended job that have no result. Returns the indexes of their shards."""
        lost = {index: shard for index, shard in sorted(self.shards.items()) if shard.pending()}
        for shard in lost.values():
            shard.reopen({line: result for line, result in shard.results.items() if result.error is None})
        if lost:
            recount = Recount(may_be_reused=self.reused > 0)
            for completion in self.results():
                recount.add(completion)
            self.reused, again, known = recount.reused, recount.counters, self.counters
            known.ttft, known.tpot, known.e2el = again.ttft, again.tpot, again.e2el
            known.finish_reasons, known.amounts = again.finish_reasons, again.amounts
            known.reused_input_tokens, known.reused_output_tokens = (
                again.reused_input_tokens,
                again.reused_output_tokens,
            )
            self._reopen()
        return list(lost)

    def reopen_failed(self) -> list[int]:
        """Open the failed lines of an ended job again. Returns the indexes of their shards."""
        opened = []
        for index, shard in sorted(self.shards.items()):
            kept = {line: result for line, result in shard.results.items() if result.error is None}
            if len(kept) < len(shard.results):
                shard.reopen(kept)
                opened.append(index)
        if opened:
            self._reopen()
        return opened

    def _reopen(self) -> None:
        self.state, self.ended_at, self.deadline_at, self.error = JobState.QUEUED, None, None, None
        self.cancel_requested = self.deadline_passed = self.paused = False
