"""Rules that every store shares: its limits, the errors that it raises and the error lines that it writes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jobs.errors import JobConflict, LeaseLost, StoreDamaged
from jobs.records.completion import Completion, ErrorCode
from jobs.records.job import Lease, NewJob
from jobs.records.prompt import Prompt
from jobs.stats.history import FIRST_SPAN_SECONDS, MAX_SPANS

# Limits for a shard that may crash its workers.
MAX_CRASHES = 2  # expired leases after which a shard is quarantined: alone in a worker, it surely causes the next loss
MAX_ISOLATED_CRASHES = 2  # lost workers that ran only this line; then the line gets a `worker_lost` error
LAST_LEASE_FACTOR = 5  # lengthens the last lease before that error: its worker may only be frozen
PART = 8  # an eighth of the lines that crashed a worker runs at a time
QUARANTINE_SCORE = 2**40  # added to a quarantined shard's score in `open` (Redis), so that it comes after all others
SLOW_FACTOR = 2  # a shard is slow when it has been held this many times as long as the job's finished shards
TIMELINE_SECONDS = 3600  # time for which a sample is kept

# The limits that Lua scripts need, too. They find them as local variables of these names.
LUA_LIMITS = {
    "MAX_CRASHES": MAX_CRASHES,
    "MAX_ISOLATED_CRASHES": MAX_ISOLATED_CRASHES,
    "LAST_LEASE_FACTOR": LAST_LEASE_FACTOR,
    "PART": PART,
    "QUARANTINE_SCORE": QUARANTINE_SCORE,
    "SLOW_FACTOR": SLOW_FACTOR,
    "FIRST_SPAN_SECONDS": FIRST_SPAN_SECONDS,
    "MAX_SPANS": MAX_SPANS,
}


def cancelled_line(prompt: Prompt) -> Completion:
    """Return the result of a line that was not finished when its job was cancelled."""
    message = "The job was cancelled before this line was finished."
    return Completion.failed_prompt(prompt, ErrorCode.CANCELLED, message)


def expired_line(prompt: Prompt) -> Completion:
    """Return the result of a line that was not finished at its job's deadline."""
    message = "The job's deadline passed before this line was finished."
    return Completion.failed_prompt(prompt, ErrorCode.EXPIRED, message)


def worker_lost_line(prompt: Prompt) -> Completion:
    """Return the result of a line that crashes its workers."""
    message = (
        f"{MAX_ISOLATED_CRASHES} workers in a row crashed or stopped responding while they ran only this line. "
        "Other workers had crashed before that."
    )
    return Completion.failed_prompt(prompt, ErrorCode.WORKER_LOST, message)


def lease_lost(lease: Lease) -> LeaseLost:
    """Return the error for a worker that uses a lease which it no longer has."""
    return LeaseLost(f"{lease.worker_id} no longer holds shard {lease.shard.index} of job {lease.shard.job_id}")


def has_part(job_id: str, part: str) -> bool:
    """Return whether an id begins or ends with `part`."""
    return job_id.startswith(part) or job_id.endswith(part)


def id_taken(job_id: str) -> JobConflict:
    """Return the error for a new job whose id another job has."""
    return JobConflict(f"There is another job {job_id!r} in this store.", "Submit again to get a new id.")


def not_ended(job_id: str, state: str, wish: str) -> JobConflict:
    """Return the error for a job that must have ended but is in `state`. `wish` is "deleted" or "retried"."""
    return JobConflict(
        f"Job {job_id} is {state.replace('_', ' ')}; only a job that has ended can be {wish}.",
        f"Wait for its end with `qwen-batch watch {job_id}`, or end it with `qwen-batch cancel {job_id}`.",
    )


def never_opened(job_id: str) -> JobConflict:
    """Return the error for retrying a job that was cancelled during its submission: some of its lines are missing."""
    return JobConflict(f"Job {job_id} was cancelled before its submission was complete.", "Submit its file again.")


def beyond_recovery(job_id: str, num_shards: int) -> StoreDamaged:
    """Return the error for a job whose missing results cannot be computed again. `num_shards` shards lack results."""
    what = "a shard" if num_shards == 1 else f"{num_shards:,} shards"
    return StoreDamaged(
        f"Job {job_id} lacks results of {what}, and the input of these lines is lost or damaged as well.",
        "Submit the file again with `qwen-batch submit FILE --new --reuse`, which runs only the missing lines.",
    )


def retried_at_once(job_id: str) -> JobConflict:
    """Return the error for two clients that retry a job at the same time."""
    return JobConflict(f"Another client changed job {job_id} at the same time.", "Run the command again.")


def not_running(job_id: str, state: str, wish: str) -> JobConflict:
    """Return the error for pausing or resuming a job that is neither queued nor in progress.

    `state` is the job's state, or 'ending'. `wish` is "paused" or "resumed".
    """
    why = "is about to end" if state == "ending" else f"is {state.replace('_', ' ')}"
    return JobConflict(f"Job {job_id} {why}; only a job that is queued or in progress can be {wish}.")


def extended(spec: NewJob, shards: Sequence[Sequence[Prompt]]) -> NewJob:
    """Return the spec of a job after these shards were added to it."""
    lines = sum(map(len, shards))
    return msgspec.structs.replace(
        spec,
        num_lines=spec.num_lines + lines,
        added_lines=spec.added_lines + lines,
        added_shards=spec.added_shards + len(shards),
    )


def not_extensible(job_id: str, state: str) -> JobConflict:
    """Return the error for a job that cannot be extended. `state` is the job's state, or 'ending', or 'changed'."""
    if state == "changed":
        return JobConflict(f"Another client extended job {job_id} at the same time.", "Run the command again.")
    why = "is about to end" if state == "ending" else f"is {state.replace('_', ' ')}"
    return JobConflict(
        f"Job {job_id} {why}; only a job that is queued, in progress or completed can be extended.",
        f"Resume it with `qwen-batch retry {job_id}` first, or submit the lines as a new job.",
    )


def not_validating(job_id: str, state: str) -> JobConflict:
    """Return the error for adding shards to a job that is no longer `validating`.

    `state` is the job's state, or 'cancelled' if its cancellation was requested.
    """
    if state == "cancelled":
        return JobConflict(f"Job {job_id} was cancelled while it was being submitted.")
    return JobConflict(f"Job {job_id} is {state.replace('_', ' ')}: it already has all its lines.")
