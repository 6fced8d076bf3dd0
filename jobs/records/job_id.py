"""Job ids that are easy to read, sort and dictate."""

from __future__ import annotations

import secrets
import time

_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"  # no two of them look alike
_NUM_LETTERS = 4  # gives 923,521 ids per second


def new_job_id(created_at: float) -> str:
    """Return a new id such as `job-20261124-203455-k3f9`. Ids of different seconds sort by time.

    Args:
        created_at: Seconds since the epoch. The id shows this time in UTC.
    """
    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(created_at))
    return f"job-{moment}-{''.join(secrets.choice(_LETTERS) for _ in range(_NUM_LETTERS))}"


def job_id_of_batch(batch_id: str) -> str:
    """Return the id of the job that an HTTP client's batch becomes.

    It is known before there is a job, so an import that begins again finds what a killed one left.
    """
    return f"job-{batch_id.removeprefix('batch_')}"
