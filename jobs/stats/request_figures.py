"""Counters and histograms of the requests that a worker has finished, as its report shows them to all others."""

from __future__ import annotations

from typing import Literal

import msgspec

Origin = Literal["batch", "online"]  # a line of a batch, or an interactive request


class HistogramFigures(msgspec.Struct, frozen=True):
    """A count per bucket. The last count is for values above all borders."""

    borders: tuple[float, ...]  # upper bounds of the buckets
    counts: tuple[int, ...]
    sum: float  # sum of all values


class RequestFigures(msgspec.Struct, frozen=True):
    """The finished requests of one origin since the worker's start. They only grow."""

    origin: Origin
    finished: dict[str, int]  # finish reason -> number of requests
    histograms: dict[str, HistogramFigures]  # by the metric's name
