"""More jobs than a look at the store takes in at once."""

from __future__ import annotations

import msgspec

from jobs.records.job import Lease
from jobs.stores.protocol import JobStore
from jobs.stores.redis.turns import JOBS_A_LOOK
from tests.support.sample_jobs import new_job, submit


def test_a_job_behind_many_busy_ones_of_a_higher_priority_is_served(store: JobStore) -> None:
    for number in range(JOBS_A_LOOK):
        submit(store, msgspec.structs.replace(new_job(f"busy-{number}", lines=1), priority=1))
        assert isinstance(store.lease_next("demo", "worker", 60.0), Lease)
    (shard,) = submit(store, new_job("job-1", lines=1))
    found = store.lease_next("demo", "worker", 60.0)
    assert isinstance(found, Lease)
    assert found.shard == shard
