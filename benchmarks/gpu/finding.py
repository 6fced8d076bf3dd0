"""What a check has found."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A figure that must not pass a bound; the smaller the better."""

    name: str
    figure: float  # nan, which passes every bound, is what a broken kernel gives
    allowed: float

    @property
    def ok(self) -> bool:
        """Whether the device computes this as it should."""
        return not math.isnan(self.figure) and self.figure <= self.allowed
