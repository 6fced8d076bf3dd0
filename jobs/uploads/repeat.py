"""Recognise a request that a client repeats, so that the repetition makes no second object."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Repeat:
    """How to recognise the repetitions of one request."""

    token: str  # the same for all tries of the request, and unique to its API key
    digest: str  # hash of what was sent
    seconds: float  # time for which a try is remembered
    is_retry: bool  # True: an earlier try may have made the object
