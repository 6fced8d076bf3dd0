"""Shards of which only a long line is left must not keep a worker's batch from being filled."""

from __future__ import annotations

import time
from pathlib import Path

from jobs.keys import JobKeys
from jobs.records.job import NewJob, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.tiny_checkpoint import write_tiny_checkpoint
from testing.processes.cluster import SHARD_SIZE, Cluster
from testing.processes.valkey import ValkeyProcess

SHARDS = 8
LONG, SHORT = 200, 1  # tokens


def submit_uneven(cluster: Cluster) -> str:
    """A job whose shards have one long line each."""
    defaults = SamplingSettings(temperature=0, ignore_eos=True)
    num_lines = SHARDS * SHARD_SIZE
    spec = NewJob("uneven", cluster.model, "native", defaults, 5, num_lines, SHARD_SIZE, "file", time.time())
    cluster.store.submissions.create(spec)
    for shard in range(SHARDS):
        lines = [
            Prompt(index, f"id-{index}", text="Why?", settings=SamplingSettings(max_tokens=SHORT if place else LONG))
            for place, index in enumerate(range(shard * SHARD_SIZE, (shard + 1) * SHARD_SIZE))
        ]
        cluster.store.submissions.add_shard(ShardRef(spec.id, shard), lines)
    cluster.hints.send(cluster.model, cluster.store.submissions.open(spec.id))
    return spec.id


def test_a_worker_runs_as_many_shards_as_it_takes_to_fill_its_batch(
    empty_valkey: ValkeyProcess, tmp_path: Path
) -> None:
    model = write_tiny_checkpoint(write_byte_level_tokenizer(tmp_path / "tiny"), vocab_size=257)
    cluster = Cluster(empty_valkey, "uneven", model, tmp_path)
    with cluster.worker(max_num_seqs=str(SHARD_SIZE)) as worker, empty_valkey.client() as client:
        worker.wait_until(cluster.store, "idle")
        job_id, most = submit_uneven(cluster), 0
        while not cluster.store.jobs.get(job_id).state.ended:
            most = max(most, client.zcard(JobKeys(job_id).leases))
        assert most >= SHARDS // 2 + 1
        assert cluster.store.jobs.get(job_id).completed == SHARDS * SHARD_SIZE
