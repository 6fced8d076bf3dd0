"""Building sequences for tests of the scheduler."""

from __future__ import annotations

import itertools

from engine.request import Request, Ticket
from engine.scheduling.policy import priority
from engine.scheduling.sequence import Sequence
from engine.stopping.stop_checker import StopChecker
from jobs.records.sampling import SamplingParams

_numbers = itertools.count()


def sequence(num_prompt_tokens: int, max_tokens: int, *, turn: int = 0, flow: str = "", **settings: object) -> Sequence:
    """A sequence with a prompt of its own, as `Engine.submit_many` makes them."""
    number = next(_numbers)
    params = SamplingParams(max_tokens=max_tokens, **settings)  # type: ignore[arg-type]
    prompt = tuple((number * 7 + place) % 256 for place in range(num_prompt_tokens))
    return Sequence(
        ticket=Ticket(Request(prompt, params, flow=flow)),
        stop_checker=StopChecker(params, (), max_tokens),
        priority=priority(turn, number, params, max_tokens),
    )
