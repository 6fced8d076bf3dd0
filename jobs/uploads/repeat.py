"""Recognise a request that a client repeats, so that the repetition makes no second object."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Repeat:
    """Marks by which the repetitions of one request are recognised."""

    token: str  # equal for all tries of a request; differs between API keys
    digest: str  # hash of what was sent
    seconds: float  # time for which a try is remembered
    is_retry: bool  # True: an earlier try may have made the object
