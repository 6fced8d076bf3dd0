"""A shard that was given back has no lease that could expire."""

from __future__ import annotations

from tests.stores.conftest import StoreUnderTest
from tests.support.sample_jobs import new_job, submit


def test_a_shard_that_was_given_back_is_not_lost_by_its_worker_later(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = store.lease(shard, "worker", under_test.ttl_seconds)
    assert lease is not None
    assert store.release(lease)
    under_test.let_pass(under_test.ttl_seconds)
    assert store.stranded("demo", 10, expired_only=True) == []
    assert store.stranded("demo", 10) == [shard]
