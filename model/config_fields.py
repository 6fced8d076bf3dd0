"""Single values of a `config.json`, checked where they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.errors import ModelUnusable


def positive_int(raw: Mapping[str, Any], name: str, path: Path) -> int:
    """`raw[name]` as a whole number above zero, or `ModelUnusable` naming file, field and value."""
    value = _present(raw, name, path)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelUnusable(f"{path}: {name} is {value!r}; it must be a whole number above 0.")
    return value


def positive_number(raw: Mapping[str, Any], name: str, path: Path) -> float:
    """`raw[name]` as a finite number above zero, or `ModelUnusable` naming file, field and value."""
    value = _present(raw, name, path)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ModelUnusable(f"{path}: {name} is {value!r}; it must be a number above 0.")
    return float(value)


def _present(raw: Mapping[str, Any], name: str, path: Path) -> Any:  # noqa: ANN401 — whatever JSON holds
    if name not in raw:
        raise ModelUnusable(f"{path} has no {name}.", "Fetch the model anew.")
    return raw[name]
