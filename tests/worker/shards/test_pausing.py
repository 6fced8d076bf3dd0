"""A pause takes effect within a renewal, and costs no finished line."""

from __future__ import annotations

from tests.worker.shard_bench import ShardBench
from worker.shards.shard_runner import Outcome


def test_a_pause_gives_running_shards_back_with_their_finished_lines_and_without_a_hint(
    short_leases: ShardBench,
) -> None:
    bench = short_leases
    shard, running = bench.start_held(3)
    bench.engine.finish(1)
    bench.real_store.control.pause("job")
    assert running.outcome() is Outcome.PAUSED
    assert bench.texts() == ["0p"]
    assert bench.hints.sent == []
    assert bench.runner.run(shard) is Outcome.NOTHING_TO_DO
    bench.engine.finish_from_now_on()
    assert bench.real_store.control.resume("job") == [shard]
    assert bench.runner.run(shard) is Outcome.FINISHED
    assert bench.texts() == ["0p", "1p", "2p"]
    assert len(bench.engine.submitted) == 5
