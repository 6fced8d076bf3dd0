"""Reading and checking single values of a `config.json`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.errors import ModelUnusable

LARGEST = {  # maximum values; each comment gives the largest value of all released Qwen3 models
    "vocab_size": 10_000_000,  # 151,936
    "hidden_size": 1_000_000,  # 5,120
    "intermediate_size": 1_000_000,  # 25,600
    "num_hidden_layers": 1_000,  # 64
    "num_attention_heads": 10_000,  # 64
    "num_key_value_heads": 10_000,  # 8
    "head_dim": 10_000,  # 128
    "max_position_embeddings": 100_000_000,  # 262,144
    "original_max_position_embeddings": 100_000_000,  # 262,144
}


def size(raw: Mapping[str, Any], name: str, path: Path) -> int:
    """Return `raw[name]`, a whole number from 1 to `LARGEST[name]`.

    Raises:
        ModelUnusable: The value is missing or out of range. The message names file, field and value.
    """
    value = _present(raw, name, path)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST[name]:
        raise ModelUnusable(
            f"{path}: {name} is {_shown(value)}; it must be a whole number from 1 to {LARGEST[name]:,}.",
            "Download the model again.",
        )
    return value


def positive_number(raw: Mapping[str, Any], name: str, path: Path) -> float:
    """Return `raw[name]`, a finite number above zero.

    Raises:
        ModelUnusable: The value is missing or out of range. The message names file, field and value.
    """
    value = _present(raw, name, path)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        raise ModelUnusable(
            f"{path}: {name} is {_shown(value)}; it must be a number above 0.", "Download the model again."
        )
    return float(value)


def _present(raw: Mapping[str, Any], name: str, path: Path) -> Any:  # noqa: ANN401 — any JSON value
    if name not in raw:
        raise ModelUnusable(f"{path} has no {name}.", "Download the model again.")
    return raw[name]


def _shown(value: object) -> str:
    """Return a value as text for a message. Python refuses to print numbers of thousands of digits."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of about {value.bit_length() * 3 // 10:,} digits"
    return f"{value!r:.80}"
