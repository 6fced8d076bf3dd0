"""Numbers as people read them."""

from __future__ import annotations


def count(number: float) -> str:
    """1234567 -> `1,234,567`."""
    return f"{number:,.0f}"


def rate(number: float | None) -> str:
    """Three significant digits or whole numbers: `0.52`, `12.3`, `1,532`; a dash where there is none yet."""
    if number is None:
        return "-"
    if number >= 100:
        return count(number)
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def milliseconds(number: float | None) -> str:
    """`0.52 ms`, `812 ms`, `12.4 s`."""
    if number is None:
        return "-"
    return f"{rate(number)} ms" if number < 10_000 else seconds(number / 1000)


def seconds(number: float | None) -> str:
    """`0.42 s`, `12.3 s`, `3 min 05 s`, `2 h 07 min`; a dash where there is none yet."""
    if number is None:
        return "-"
    if number < 59.95:
        return f"{rate(number)} s"
    whole = round(number)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"


def about(number: float) -> str:
    """A guess at a time to come: `40 s`, `3 min`, `2 h 07 min`."""
    if number < 100:
        return f"{number:.0f} s"
    return f"{number / 60:.0f} min" if number < 5400 else seconds(number)


def size(num_bytes: int) -> str:
    """`512 MiB`, `1.5 GiB`."""
    gib = num_bytes / 2**30
    return f"{gib:.1f} GiB" if gib >= 1 else f"{num_bytes / 2**20:.0f} MiB"


def percent(share: float | None) -> str:
    """0.5 -> `50%`."""
    return "-" if share is None else f"{share:.0%}"


def number_format(dtype: str, quantize: str) -> str:
    """What a model computes in, in a word: its dtype, or the narrower one that its weights are rounded to."""
    return dtype if quantize == "none" else quantize
