"""The result of a check."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A figure that must not exceed a bound."""

    name: str
    figure: float  # may be NaN, from a broken kernel; comparisons alone would accept it
    allowed: float

    @property
    def ok(self) -> bool:
        """True if the figure is within its bound."""
        return not math.isnan(self.figure) and self.figure <= self.allowed
