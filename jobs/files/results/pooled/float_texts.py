"""Write float32 values as the shortest decimal numbers that give the same values again."""

from __future__ import annotations

import sys
from array import array

import msgspec

_DIGITS = (6, 7, 8, 9)  # 9 digits are enough for each float32


def float32_json(values: bytes) -> msgspec.Raw:
    """Return a list of numbers in JSON. Python's own text of a float32 would have up to 17 digits.

    Args:
        values: Little-endian float32, all of them finite.
    """
    return msgspec.Raw(f"[{','.join(float32_texts(values))}]".encode())


def float32_texts(values: bytes) -> list[str]:
    """Return the text of each value of little-endian float32."""
    wanted = array("f", values)
    if sys.byteorder == "big":
        wanted.byteswap()
    texts = [""] * len(wanted)
    left = list(range(len(wanted)))
    for digits in _DIGITS:
        tried = [f"{wanted[place]:.{digits}g}" for place in left]
        again = array("f", map(float, tried))
        later = []
        for place, text, value in zip(left, tried, again, strict=True):
            texts[place] = text
            if value != wanted[place]:
                later.append(place)
        left = later
    return texts
