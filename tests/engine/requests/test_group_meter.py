from __future__ import annotations

from dataclasses import replace

import pytest

from engine.request import Utilization
from engine.requests.group_meter import GroupMeter
from engine.scheduling.batch import Batch
from engine.scheduling.sequence import Sequence
from tests.engine.sequences import sequence


def test_the_time_of_a_step_that_decodes_and_prefills_is_divided_by_tokens() -> None:
    decoding = [sequence(3, 9) for _ in range(2)]
    for each in decoding:
        each.num_computed = 3
        each.tokens.append(7)
    meter = GroupMeter()
    meter.add(
        Batch.mixed(Batch.decode(decoding), [sequence(6, 9)], [6]),
        4.0,
        Utilization(running=3, waiting=0, kv_cache_usage=0.5, output_tokens=0),
    )
    stats = meter.take("")
    assert (stats.prefill_seconds, stats.decode_seconds) == pytest.approx((3.0, 1.0))
    assert (stats.decode_steps, stats.decode_batch_sum, stats.output_tokens) == (1, 2, 3)


def test_the_time_of_a_step_that_groups_share_is_divided_by_their_sequences() -> None:
    mine, *others = [grouped("mine"), grouped("others"), grouped("others"), grouped("others")]
    meter = GroupMeter()
    utilization = Utilization(running=4, waiting=0, kv_cache_usage=0.5, output_tokens=0)
    meter.add(Batch.prefill([mine, *others], [3] * 4), 4.0, utilization)
    assert meter.take("mine").prefill_seconds == pytest.approx(1.0)
    assert meter.take("others").prefill_seconds == pytest.approx(3.0)


def grouped(group: str) -> Sequence:
    """A sequence of a group."""
    made = sequence(3, 9)
    made.ticket.request = replace(made.ticket.request, group=group)
    return made
