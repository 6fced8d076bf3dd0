"""Lengths of time as people write them."""

from __future__ import annotations

import pytest

from jobs.duration import parse_duration
from jobs.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2d", 172_800), (" 1H 0.5m ", 3630), ("0.5s", 0.5)],
)
def test_numbers_with_units_are_added_up(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "0s", "-1h", "30m1h", "1w", "h", "4000d", "1e3s", "nan", "١s"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match="1h30m"):
        parse_duration(text)
