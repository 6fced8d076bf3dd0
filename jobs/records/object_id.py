"""Ids of uploaded files and of batches. They sort by the time of their creation, and cannot be guessed."""

from __future__ import annotations

import re
import secrets
from typing import Literal

ObjectKind = Literal["file", "batch"]

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no two digits look alike, and they sort as numbers
_TIME_BITS, _RANDOM_BITS = 48, 80  # milliseconds since the epoch; 26 digits in all
_LENGTH = 26
_PREFIXES: dict[ObjectKind, str] = {"file": "file-", "batch": "batch_"}
_PATTERNS = {kind: re.compile(rf"{prefix}[{_DIGITS}]{{{_LENGTH}}}") for kind, prefix in _PREFIXES.items()}


def new_object_id(kind: ObjectKind, created_at: float) -> str:
    """Return a new id such as `file-06e5qk2v9g…`. The id of a later millisecond is greater.

    Args:
        kind: What gets the id.
        created_at: Seconds since the epoch.
    """
    return _id_of(kind, created_at, secrets.randbits(_RANDOM_BITS))


def smallest_id(kind: ObjectKind, created_at: float) -> str:
    """Return the smallest id that an object of this millisecond can have, as a limit for listings.

    Args:
        kind: Kind of the objects.
        created_at: Seconds since the epoch.
    """
    return _id_of(kind, created_at, 0)


def _id_of(kind: ObjectKind, created_at: float, low_bits: int) -> str:
    number = (int(created_at * 1000) % 2**_TIME_BITS) << _RANDOM_BITS | low_bits
    digits = "".join(_DIGITS[number >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))
    return _PREFIXES[kind] + digits


def is_object_id(kind: ObjectKind, text: str) -> bool:
    """Return whether a text has the form of an id of this kind."""
    return _PATTERNS[kind].fullmatch(text) is not None


def kind_of(object_id: str) -> ObjectKind | None:
    """Return the kind of an id, or None if the text is no id."""
    return next((kind for kind in _PREFIXES if is_object_id(kind, object_id)), None)


def created_at_of(object_id: str) -> float:
    """Return the time in an id, in seconds since the epoch."""
    number = 0
    for digit in object_id[-_LENGTH:]:
        number = number << 5 | _DIGITS.index(digit)
    return (number >> _RANDOM_BITS) / 1000
