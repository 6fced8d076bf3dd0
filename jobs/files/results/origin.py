"""The origin of a completion."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """The job or the interactive request that a completion answers."""

    id: str  # the job's id, or the request's
    model: str  # the served model that answers
