"""A dummy sequence for the warm-up steps before the first request."""

from __future__ import annotations

from array import array

from engine.request import Request, Ticket
from engine.scheduling.page_allocator import SINK_PAGE
from engine.scheduling.sequence import Sequence
from engine.stopping.stop_checker import StopChecker
from jobs.records.sampling import SamplingParams


def sink_sequence() -> Sequence:
    """Return a sequence of three tokens that writes to the sink page."""
    params = SamplingParams(max_tokens=1)
    return Sequence(
        ticket=Ticket(Request((0, 0, 0), params)),
        stop_checker=StopChecker(params, (), 1),
        priority=(0, False, 0, 0),
        page_table=array("i", [SINK_PAGE]),
    )
