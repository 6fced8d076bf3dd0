"""More jobs than a look at the store takes in at once."""

from __future__ import annotations

import msgspec

from jobs.stores.protocol import JobStore
from jobs.stores.redis.next_shard import JOBS_PER_LOOK
from jobs.stores.worker_facets import Leased
from testing.jobs.sample_jobs import new_job, submit


def test_a_job_behind_many_busy_ones_of_a_higher_priority_is_served(store: JobStore) -> None:
    for number in range(JOBS_PER_LOOK):
        submit(store, msgspec.structs.replace(new_job(f"busy-{number}", lines=1), priority=1))
        assert isinstance(store.work.lease_next("demo", "worker", 60.0), Leased)
    (shard,) = submit(store, new_job("job-1", lines=1))
    found = store.work.lease_next("demo", "worker", 60.0)
    assert isinstance(found, Leased)
    assert found.lease.shard == shard
