"""The result of a check."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A figure that must not exceed a bound."""

    name: str
    figure: float  # nan, which passes every bound, is what a broken kernel gives
    allowed: float

    @property
    def ok(self) -> bool:
        """True if the figure is within its bound."""
        return not math.isnan(self.figure) and self.figure <= self.allowed
