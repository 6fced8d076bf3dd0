"""JSON types of a function's parameters. Calls in XML need them, because XML has no quotes around a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_MAX_DEPTH = 16  # references and alternatives inside one another
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def types_of(schema: object, root: Mapping[str, Any], depth: int = 0) -> frozenset[str]:
    """Return the names of the JSON types that a schema allows. Empty if the schema does not say.

    Args:
        schema: Schema of a parameter.
        root: Schema of all parameters of the function, for references.
        depth: Number of schemas around this one.
    """
    schema = resolved(schema, root)
    said = schema.get("type")
    if isinstance(said, str):
        return frozenset({said})
    if isinstance(said, list):
        return frozenset(map(str, said))
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, list):
        return frozenset(_TYPES.get(type(value), "null") for value in values)
    return frozenset(
        name
        for options in (schema.get("anyOf"), schema.get("oneOf"), schema.get("allOf"))
        for option in (options if isinstance(options, list) and depth < _MAX_DEPTH else ())
        for name in types_of(option, root, depth + 1)
    )


def is_text(types: frozenset[str]) -> bool:
    """Return whether a parameter's value is written as a text: its schema allows texts, or does not say a type."""
    return "string" in types or types.isdisjoint(_TYPES.values())


def resolved(schema: object, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema, or the one that its `$ref` names. Empty if it is no object, or the reference leads nowhere."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        schema = _target(reference, root)
    return {}


def _target(reference: str, root: Mapping[str, Any]) -> object:
    """Return what a reference such as `#/$defs/Colour` names. None if there is nothing."""
    start, *steps = reference.split("/")
    found: object = root if start == "#" else None
    for step in steps:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
