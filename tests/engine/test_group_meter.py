from __future__ import annotations

import pytest

from engine.batch import Batch
from engine.group_meter import GroupMeter
from engine.request import EngineLoad
from tests.engine.sequences import sequence


def test_the_time_of_a_step_that_decodes_and_prefills_is_divided_by_tokens() -> None:
    decoding = [sequence(3, 9) for _ in range(2)]
    for each in decoding:
        each.num_computed = 3
        each.tokens.append(7)
    meter = GroupMeter()
    meter.add(
        Batch.mixed(decoding, [sequence(6, 9)], [6]),
        4.0,
        EngineLoad(running=3, waiting=0, kv_cache_usage=0.5, output_tokens=0),
    )
    stats = meter.take("")
    assert (stats.prefill_seconds, stats.decode_seconds) == pytest.approx((3.0, 1.0))
    assert (stats.decode_steps, stats.decode_batch_sum, stats.output_tokens) == (1, 2, 3)
