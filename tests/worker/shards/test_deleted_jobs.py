"""A job that is deleted at the wrong moment costs its shard and nothing more."""

from __future__ import annotations

import pytest

from jobs.errors import JobNotFound
from jobs.records.job import Job
from tests.worker.shard_bench import ShardBench, prompts
from worker.shards.shard_runner import Outcome


def test_a_job_that_is_gone_right_after_its_lease_is_a_lost_shard(
    bench: ShardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shard,) = bench.add_job(prompts(1))

    def gone(job_id: str) -> Job:
        raise JobNotFound(job_id)

    monkeypatch.setattr(bench.real_store.jobs, "get", gone)
    assert bench.runner.run(shard) is Outcome.LOST
    assert bench.keeper.leases() == []
