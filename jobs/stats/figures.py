"""Formats of numbers for people."""

from __future__ import annotations

_MANY_LINES = 100_000  # a percent of a larger job takes so long that a person wants to see less than that


def count(number: float) -> str:
    """Format a count: `1,234,567`."""
    return f"{number:,.0f}"


def rate(number: float | None) -> str:
    """Format a rate with three significant digits, or as a whole number: `0.52`, `12.3`, `1,532`. None is a dash."""
    if number is None:
        return "-"
    if number >= 100:
        return count(number)
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def milliseconds(number: float | None) -> str:
    """Format a time given in ms: `0.52 ms`, `812 ms`, `12.4 s`. None is a dash."""
    if number is None:
        return "-"
    return f"{rate(number)} ms" if number < 10_000 else seconds(number / 1000)


def seconds(number: float | None) -> str:
    """Format a duration: `0.42 s`, `12.3 s`, `3 min 05 s`, `2 h 07 min`. None is a dash."""
    if number is None:
        return "-"
    if number < 59.95:
        return f"{rate(number)} s"
    whole = round(number)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"


def about(number: float) -> str:
    """Format an estimate of the remaining seconds: `40 s`, `3 min`, `2 h 07 min`."""
    if number < 100:
        return f"{number:.0f} s"
    return f"{number / 60:.0f} min" if number < 5400 else seconds(number)


def size(num_bytes: int) -> str:
    """Format a number of bytes: `512 MiB`, `1.5 GiB`."""
    gib = num_bytes / 2**30
    return f"{gib:.1f} GiB" if gib >= 1 else f"{num_bytes / 2**20:.0f} MiB"


def percent(share: float | None) -> str:
    """Format a share from 0 to 1 as a percentage: `50%`. None is a dash."""
    return "-" if share is None else f"{share:.0%}"


def progress(done: int, total: int) -> str:
    """Format the finished part of a job: `50%`, or `50.3%` of a large job. It is 100% only if nothing is left."""
    if not total:
        return "0%"
    if total < _MANY_LINES:
        return f"{100 * done // total}%"
    permille = 1000 * done // total
    return f"{permille // 10}%" if permille in (0, 1000) else f"{permille / 10:.1f}%"


def number_format(dtype: str, quantize: str) -> str:
    """Return the number format of a model: its quantisation, or its dtype if it is not quantised."""
    return dtype if quantize == "none" else quantize
