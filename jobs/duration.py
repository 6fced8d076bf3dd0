"""Parse lengths of time."""

from __future__ import annotations

import re

from jobs.errors import InvalidInput

_UNIT_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile("".join(rf"(?:(\d+(?:\.\d+)?){unit}\s*)?" for unit in _UNIT_SECONDS), re.ASCII)
LONGEST_SECONDS = 10 * 365 * 86_400


def parse_duration(text: str) -> float:
    """Parse a length of time such as `90s`, `30m`, `1h30m` or `2d`. Returns seconds.

    Raises:
        InvalidInput: The text is not a length of time, or the time is zero or more than ten years.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    numbers = match.groups() if match is not None else ()
    seconds = sum(float(number or 0) * unit for number, unit in zip(numbers, _UNIT_SECONDS.values(), strict=False))
    if not 0 < seconds <= LONGEST_SECONDS:
        raise InvalidInput(
            f"{text!r} is not a duration of more than 0 s and at most ten years.",
            "Write numbers with units, such as 90s, 30m, 1h30m or 2d.",
        )
    return seconds
