"""Lines that an earlier job has completed are in no rate."""

from __future__ import annotations

import pytest

from testing.jobs.sample_jobs import completed, new_job, submit
from tests.jobs.stores.conftest import StoreUnderTest


def test_tokens_and_lines_that_were_reused_raise_no_rate(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2), known={0})
    lease = store.work.lease(shard, "worker", 60.0)
    assert lease is not None
    under_test.let_pass(0.05)
    store.work.write(lease, [completed(1, tokens=6)])
    stats = store.jobs.stats("job-1")
    assert (stats.reused, stats.total_output_tokens, stats.duration_seconds is not None) == (1, 4 + 6, True)
    seconds = stats.duration_seconds or 0.0
    assert stats.output_throughput == pytest.approx(6 / seconds)
    assert stats.total_token_throughput == pytest.approx((6 + 3) / seconds)
    assert stats.request_throughput == pytest.approx(1 / seconds)
