"""A sequence for steps that nobody asked for: what a model does before its first request."""

from __future__ import annotations

from array import array

from engine.request import Request, Ticket
from engine.scheduling.block_manager import SINK_PAGE
from engine.scheduling.sequence import Sequence
from engine.stopping.stop_checker import StopChecker
from jobs.records.sampling import SamplingParams


def sink_sequence() -> Sequence:
    """Three tokens whose cache is the sink page."""
    params = SamplingParams(max_tokens=1)
    return Sequence(
        ticket=Ticket(Request((0, 0, 0), params)),
        stop_checker=StopChecker(params, (), 1),
        priority=(0, False, 0, 0),
        block_table=array("i", [SINK_PAGE]),
    )
