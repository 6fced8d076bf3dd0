"""Names for jobs that a person can read, sort and say over the telephone."""

from __future__ import annotations

import secrets
import time

_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"  # none that looks like another
_NUM_LETTERS = 4  # 923,521 names a second


def new_job_id(created_at: float) -> str:
    """A new id such as `job-20261124-203455-k3f9`; ids of different seconds sort by time.

    Args:
        created_at: Seconds since the epoch; shown in UTC.
    """
    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(created_at))
    return f"job-{moment}-{''.join(secrets.choice(_LETTERS) for _ in range(_NUM_LETTERS))}"
