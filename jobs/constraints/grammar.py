"""The grammar of a constraint, as the library llguidance reads it."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from jobs.records.constraint import Constraint

# White space is bounded, because models can fill a whole completion with it. Qwen3 itself writes JSON in this way.
_WHITESPACE = r"(\n[ ]{0,24}|[ ])"

# Parts of a regular expression that are written differently between slashes.
_ESCAPE_OR_BREAK = re.compile(r"\\.|/|\n", re.DOTALL)
_ESCAPED = {"/": r"\/", "\n": r"\n", "\\\n": r"\n", r"\d": "[0-9]", r"\D": "[^0-9]"}

_encode = msgspec.json.Encoder().encode


def grammar_of(constraint: Constraint) -> str:
    """Return the grammar as llguidance's JSON. The constraint is not checked here.

    Args:
        constraint: A constraint of any kind but `text`.

    Raises:
        ValueError: The text of a schema or of choices is not JSON, or a schema is no object.
    """
    return _encode({"grammars": [_part(constraint)]}).decode()


def json_in_lark(schema: str, strict: bool) -> str:
    """Return a JSON schema as `%json` takes it in a grammar of Lark. Raises `ValueError` as `grammar_of` does."""
    return _encode(_schema(Constraint("json", schema, strict))).decode()


def _part(constraint: Constraint) -> dict[str, Any]:
    if constraint.kind == "json":
        return {"json_schema": _schema(constraint)}
    return {"lark_grammar": _lark(constraint)}


def _schema(constraint: Constraint) -> dict[str, Any]:
    """Return the schema with llguidance's options. They replace options of the schema's author."""
    schema = msgspec.json.decode(constraint.text, type=dict[str, Any])
    whitespace = _WHITESPACE if constraint.whitespace is None else constraint.whitespace
    flexible = {"whitespace_pattern": whitespace} if whitespace else {"whitespace_flexible": False}
    schema["x-guidance"] = {**flexible, "lenient": not constraint.strict, "coerce_one_of": False}
    return schema


def _lark(constraint: Constraint) -> str:
    if constraint.kind == "regex":
        return f"start: {regex_in_lark(constraint.text)}"
    if constraint.kind == "choice":
        choices = msgspec.json.decode(constraint.text, type=list[str])
        return "start: " + " | ".join(_encode(choice).decode() for choice in choices)
    return constraint.text


def regex_in_lark(pattern: str) -> str:
    """Return the pattern as a regular expression between slashes. Digits are ASCII, as almost everybody means them."""
    return f"/{_ESCAPE_OR_BREAK.sub(_escaped, pattern)}/"


def _escaped(found: re.Match[str]) -> str:
    return _ESCAPED.get(found[0], found[0])
