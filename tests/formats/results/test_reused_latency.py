"""A completion of an earlier job took its time there."""

from __future__ import annotations

import time

from jobs.records.sampling import SamplingSettings
from jobs.stores.memory.store import MemoryJobStore
from jobs.submission.reuse import EarlierLines
from testing.jobs.sample_jobs import completed, new_job, prompts_of, submit


def test_a_reused_line_has_no_latency_of_its_own() -> None:
    store, spec = MemoryJobStore(time.time), new_job(lines=1)
    (shard,) = submit(store, spec)
    lease = store.work.lease(shard, "worker", 60.0)
    assert lease is not None
    store.work.write(lease, [completed(0)])
    earlier = EarlierLines(store, spec.model, SamplingSettings())
    (prompt,) = prompts_of(spec, 0)
    key = earlier.keys(spec.defaults, spec.seed).key(prompt)
    earlier.look_for([key])
    found = earlier.completion(key, prompt)
    assert found is not None
    assert (found.text, found.latency) == ("It is 0.", None)
