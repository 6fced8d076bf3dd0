"""A JSON schema of twelve fields, and the check of completions against it.

Every field is bounded, so that a model with random weights also comes to an end. A grammar that allows any white space
between fields would undo that: such a model can choose white space for ever. A peer that cannot forbid it gets the
schema as a regular expression. Standard library only: this file also runs in the peers' own environments.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

MAX_TOKENS = 384  # of a completion; a record without white space has about 120
_TAGS = ["bug", "billing", "delivery", "feature", "praise", "question"]
_FIELDS: dict[str, dict[str, Any]] = {
    "category": {"type": "string", "enum": ["account", "complaint", "order", "other", "support", "suggestion"]},
    "channel": {"type": "string", "enum": ["chat", "email", "letter", "phone"]},
    "language": {"type": "string", "enum": ["Chinese", "English", "French", "German", "Japanese", "Spanish"]},
    "sentiment": {"type": "string", "enum": ["negative", "neutral", "positive"]},
    "priority": {"type": "string", "enum": ["low", "normal", "high", "urgent"]},
    "department": {"type": "string", "enum": ["finance", "logistics", "sales", "technology"]},
    "rating": {"type": "integer", "minimum": 1, "maximum": 5},
    "year": {"type": "integer", "minimum": 1990, "maximum": 2030},
    "amount": {"type": "integer", "minimum": 0, "maximum": 100_000},
    "is_customer": {"type": "boolean"},
    "needs_reply": {"type": "boolean"},
    "tags": {"type": "array", "items": {"type": "string", "enum": _TAGS}, "minItems": 1, "maxItems": 4},
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": _FIELDS,
    "required": list(_FIELDS),
    "additionalProperties": False,
}

# The numbers of the schema, written out as an expression.
_NUMBERS = {"rating": "[1-5]", "year": "(199[0-9]|20[0-2][0-9]|2030)", "amount": "(100000|0|[1-9][0-9]{0,4})"}


def pattern() -> str:
    """Return a regular expression for the records of `SCHEMA`, in the schema's order and without white space."""
    return r"\{" + ",".join(f'"{name}":{_value(name, field)}' for name, field in _FIELDS.items()) + r"\}"


def _value(name: str, field: dict[str, Any]) -> str:
    kind = field["type"]
    if kind == "array":
        item = _value(name, field["items"])
        return rf"\[{item}(,{item}){{0,{field['maxItems'] - 1}}}\]"
    if kind == "boolean":
        return "(true|false)"
    return _NUMBERS[name] if kind == "integer" else f'"({"|".join(field["enum"])})"'


def is_valid(text: str) -> bool:
    """Return whether a text is JSON for `SCHEMA`."""
    try:
        record = json.loads(text)
    except ValueError:
        return False
    if not isinstance(record, dict) or record.keys() != _FIELDS.keys():
        return False
    return all(_fits(record[name], field) for name, field in _FIELDS.items())


def outcome(texts: Sequence[str], lengths: Sequence[int]) -> dict[str, int]:
    """Return what a system made of the records.

    Args:
        texts: Text of each completion.
        lengths: Number of tokens of each completion.
    """
    return {
        "output_tokens": sum(lengths),
        "longest_output": max(lengths),
        "valid_lines": sum(map(is_valid, texts)),
    }


def _fits(value: object, field: dict[str, Any]) -> bool:
    kind = field["type"]
    if kind == "array":
        return (
            isinstance(value, list)
            and field["minItems"] <= len(value) <= field["maxItems"]
            and all(_fits(each, field["items"]) for each in value)
        )
    if kind == "integer":
        return type(value) is int and field["minimum"] <= value <= field["maximum"]
    if kind == "boolean":
        return type(value) is bool
    return value in field["enum"]
