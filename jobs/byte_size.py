"""Parse and format sizes in bytes."""

from __future__ import annotations

import re

from jobs.errors import InvalidInput

_UNITS = {
    "": 1,
    "b": 1,
    **{prefix + "b": 1000**power for power, prefix in enumerate("kmgt", 1)},
    **{prefix + suffix: 1024**power for power, prefix in enumerate("kmgt", 1) for suffix in ("ib", "i", "")},
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", re.ASCII)


def parse_bytes(text: str) -> int:
    """Parse a size: `4GiB` is 4 x 1024^3 bytes, `4GB` is 4 x 1000^3, `4G` equals `4GiB`. Case does not matter.

    A number without a unit is a number of bytes.

    Raises:
        InvalidInput: The text is not a size, or the size is less than a byte.
    """
    match = _SIZE.fullmatch(text)
    if match is None or match[2].lower() not in _UNITS:
        raise InvalidInput(f"{text!r} is not a size in bytes.", "Write a number with a unit, such as 512MiB or 4GiB.")
    size = int(float(match[1]) * _UNITS[match[2].lower()])
    if size < 1:
        raise InvalidInput(f"{text!r} is less than a byte.", "Write a number with a unit, such as 512MiB or 4GiB.")
    return size


def format_bytes(size: int) -> str:
    """Format a size for people in binary units, such as `1.5 GiB`."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} TiB"
