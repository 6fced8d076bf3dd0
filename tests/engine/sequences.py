"""Building sequences for tests of the scheduler."""

from __future__ import annotations

import itertools

from engine.request import Request, Ticket
from engine.scheduling.policy import priority
from engine.scheduling.sequence import Sequence
from engine.stopping.stop_checker import StopChecker
from jobs.records.sampling import SamplingParams

_numbers = itertools.count()


def sequence(
    num_prompt_tokens: int,
    max_tokens: int,
    *,
    turn: int = 0,
    flow: str = "",
    num_shared: int = 0,
    urgent: bool = False,
    number: int | None = None,
    **settings: object,
) -> Sequence:
    """A sequence as `Engine.submit_many` makes them.

    Its prompt begins with as many tokens of a common prompt as `num_shared` says; the others follow from `number`, and
    none of them is that of the common prompt. A test that must repeat itself exactly gives the numbers; otherwise, each
    sequence gets the next one.
    """
    number = next(_numbers) if number is None else number
    params = SamplingParams(max_tokens=max_tokens, **settings)  # type: ignore[arg-type]
    shared = tuple(place * 5 % 256 for place in range(min(num_shared, num_prompt_tokens)))
    own = 1 + number * 7 % 255  # from 1 to 255, so that no token is the common prompt's
    prompt = shared + tuple((place * 5 + own) % 256 for place in range(len(shared), num_prompt_tokens))
    return Sequence(
        ticket=Ticket(Request(prompt, params, flow=flow, urgent=urgent)),
        stop_checker=StopChecker(params, (), max_tokens),
        priority=priority(turn, number, params, max_tokens, urgent=urgent),
    )
