"""What every store says and decides alike: the errors it raises and the error lines it writes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jobs.errors import JobConflict, LeaseLost, StoreDamaged
from jobs.records.completion import Completion, ErrorCode
from jobs.records.job import Lease, NewJob
from jobs.records.prompt import Prompt

# What a store does about a shard whose workers fall silent (`scripts/common.lua` has the same numbers).
MAX_SHARED_EXPIRIES = 2  # after so many it is run alone in a worker: the next silence is surely its own doing
MAX_LONE_EXPIRIES = 2  # a line that was alone in so many workers that fell silent takes them down
LAST_LEASES = 5  # the lease before such a line is given up lives so many times as long: its worker may only be frozen
PART = 8  # of the lines that took a worker down, an eighth is run at a time
SLOW_FACTOR = 2  # a shard that is held for so many times as long as the job's finished ones were is slow
TIMELINE_SECONDS = 3600  # how long a sample is kept


def cancelled_line(prompt: Prompt) -> Completion:
    """The result of a line that was not finished when its job was cancelled."""
    message = "The job was cancelled before this line was finished."
    return Completion.failed_prompt(prompt, ErrorCode.CANCELLED, message)


def expired_line(prompt: Prompt) -> Completion:
    """The result of a line that was not finished at its job's deadline."""
    message = "The job's deadline passed before this line was finished."
    return Completion.failed_prompt(prompt, ErrorCode.EXPIRED, message)


def worker_lost_line(prompt: Prompt) -> Completion:
    """The result of a line that takes its workers down."""
    message = (
        f"{MAX_LONE_EXPIRIES} workers in a row crashed or stopped responding while they ran only this line. "
        "Other workers had crashed before that."
    )
    return Completion.failed_prompt(prompt, ErrorCode.WORKER_LOST, message)


def lease_lost(lease: Lease) -> LeaseLost:
    """A worker acts on a shard that is no longer its own."""
    return LeaseLost(f"{lease.worker_id} no longer holds shard {lease.shard.index} of job {lease.shard.job_id}")


def id_taken(job_id: str) -> JobConflict:
    """A new job has the id of another one."""
    return JobConflict(f"There is another job {job_id!r} in this store.", "Submit again to get a new id.")


def not_ended(job_id: str, state: str, wish: str) -> JobConflict:
    """A job that runs cannot be deleted or retried."""
    return JobConflict(
        f"Job {job_id} is {state.replace('_', ' ')}; only a job that has ended can be {wish}.",
        f"Wait for its end with `qwen-batch watch {job_id}`, or end it with `qwen-batch cancel {job_id}`.",
    )


def never_opened(job_id: str) -> JobConflict:
    """A job that was cancelled while it was being submitted lacks lines, so it cannot be retried."""
    return JobConflict(f"Job {job_id} was cancelled before its submission was complete.", "Submit its file again.")


def beyond_recovery(job_id: str, num_shards: int) -> StoreDamaged:
    """Results are gone, and nothing is left to make them from. `num_shards` lack results."""
    what = "a shard" if num_shards == 1 else f"{num_shards:,} shards"
    return StoreDamaged(
        f"Job {job_id} lacks results of {what}, and the input of these lines is lost or damaged as well.",
        "Submit the file again with `qwen-batch submit FILE --new --reuse`, which runs only the missing lines.",
    )


def retried_at_once(job_id: str) -> JobConflict:
    """Two clients retry a job at the same time."""
    return JobConflict(f"Another client changed job {job_id} at the same time.", "Run the command again.")


def not_running(job_id: str, state: str, wish: str) -> JobConflict:
    """Only a job that waits or runs can be paused or resumed. `state` is the job's, or 'ending'."""
    why = "is about to end" if state == "ending" else f"is {state.replace('_', ' ')}"
    return JobConflict(f"Job {job_id} {why}; only a job that is queued or in progress can be {wish}.")


def extended(spec: NewJob, shards: Sequence[Sequence[Prompt]]) -> NewJob:
    """A job's spec with these shards after its own."""
    lines = sum(map(len, shards))
    return msgspec.structs.replace(
        spec,
        num_lines=spec.num_lines + lines,
        added_lines=spec.added_lines + lines,
        added_shards=spec.added_shards + len(shards),
    )


def not_extensible(job_id: str, state: str) -> JobConflict:
    """A job to which no lines can be added. `state` is the job's, or 'ending', or 'changed'."""
    if state == "changed":
        return JobConflict(f"Another client extended job {job_id} at the same time.", "Run the command again.")
    why = "is about to end" if state == "ending" else f"is {state.replace('_', ' ')}"
    return JobConflict(
        f"Job {job_id} {why}; only a job that is queued, in progress or completed can be extended.",
        f"Resume it with `qwen-batch retry {job_id}` first, or submit the lines as a new job.",
    )


def not_validating(job_id: str, state: str) -> JobConflict:
    """Shards come too late. `state` is the job's, or 'cancelled' if that was asked for."""
    if state == "cancelled":
        return JobConflict(f"Job {job_id} was cancelled while it was being submitted.")
    return JobConflict(f"Job {job_id} is {state.replace('_', ' ')}: it already has all its lines.")
