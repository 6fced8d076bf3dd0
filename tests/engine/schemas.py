"""JSON schemas as people write them, and random ones."""

from __future__ import annotations

import random
from typing import Any

Schema = dict[str, Any]

_WORD: Schema = {"type": "string", "maxLength": 8}
_DIGITS: Schema = {"type": "integer", "minimum": -999, "maximum": 999}


def closed(**properties: Any) -> Schema:
    """An object with exactly these properties, as `strict` wants it."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


SCHEMAS: list[Schema] = [
    {"type": "boolean"},
    {"type": "null"},
    {"type": ["boolean", "null"]},
    _DIGITS,
    {"type": "integer", "minimum": 0, "maximum": 10},
    {"type": "integer", "exclusiveMinimum": 5, "exclusiveMaximum": 8},
    {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100},
    {"type": "number", "minimum": 0, "maximum": 1},
    {"type": "number", "exclusiveMinimum": -1.5, "maximum": 2.5},
    _WORD,
    {"type": "string", "minLength": 3, "maxLength": 5},
    {"type": "string", "pattern": "^[A-Z]{2}[0-9]{4}$"},
    {"type": "string", "pattern": "^(yes|no)$"},
    {"type": "string", "pattern": "b.?c", "maxLength": 12},
    {"type": "string", "format": "date"},
    {"type": "string", "format": "ipv4"},
    {"type": "string", "format": "uuid"},
    {"type": "string", "format": "ipv6"},
    {"enum": ["red", "green", "blue"]},
    {"enum": [1, 2.5, None, True, "one", ["a"], {"b": 1}]},
    {"enum": ["é", '"', "\\", "line\nbreak", "日本語"]},
    {"const": "always"},
    {"const": {"nested": [1, {"deep": None}]}},
    {"type": "array", "items": {"type": "boolean"}, "maxItems": 4},
    {"type": "array", "items": _DIGITS, "minItems": 2, "maxItems": 3},
    {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1, "maxItems": 5},
    {"type": "array", "prefixItems": [{"type": "boolean"}, {"enum": ["x"]}], "items": False, "minItems": 2},
    {"type": "array", "items": {"type": "array", "items": {"type": "null"}, "maxItems": 2}, "maxItems": 3},
    {"type": "array", "maxItems": 0},
    {"type": "object", "maxProperties": 0, "additionalProperties": False},
    closed(),
    closed(answer={"type": "boolean"}),
    closed(label={"enum": ["good", "bad"]}, score={"type": "integer", "minimum": 1, "maximum": 5}),
    closed(reason=_WORD, label={"enum": ["good", "bad", "neutral"]}),
    closed(a=closed(b=closed(c={"type": "null"}))),
    closed(tags={"type": "array", "items": {"enum": ["x", "y", "z"]}, "maxItems": 3}),
    closed(**{'quo"ted': {"type": "null"}, "ключ": {"type": "boolean"}, "": {"const": 0}}),
    closed(name=_WORD, age={"type": ["integer", "null"], "minimum": 0, "maximum": 150}),
    {"type": "object", "properties": {"a": _DIGITS, "b": {"type": "boolean"}}, "additionalProperties": False},
    {"type": "object", "properties": {"a": _DIGITS}, "required": ["a"], "additionalProperties": {"type": "null"}},
    {"type": "object", "additionalProperties": _DIGITS, "required": ["x"]},
    {"type": "object", "patternProperties": {"^x_": {"type": "boolean"}}, "additionalProperties": False},
    {"type": "object", "properties": {"a": True, "b": {}}, "additionalProperties": False},
    {"type": "object"},
    {},
    {"title": "Bare", "description": "only words", "default": 5, "examples": [1], "type": "boolean"},
    {"anyOf": [{"type": "boolean"}, {"type": "string", "maxLength": 3}]},
    {"anyOf": [closed(kind={"const": "a"}, x=_DIGITS), closed(kind={"const": "b"}, y={"type": "boolean"})]},
    {"oneOf": [{"type": "boolean"}, {"type": "null"}]},
    {"oneOf": [closed(kind={"const": "a"}), closed(kind={"const": "b"}, y={"type": "null"})]},
    {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 9}]},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "boolean"}}}, {"required": ["a"]}]},
    {"$defs": {"pet": closed(kind={"enum": ["cat", "dog"]})}, "type": "array", "items": {"$ref": "#/$defs/pet"}},
    {
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {"left": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]}},
                "required": ["left"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/tree",
    },
    # pydantic's `model_json_schema()` of a model with an optional field and an enum
    {
        "$defs": {"Color": {"enum": ["red", "blue"], "title": "Color", "type": "string"}},
        "properties": {
            "color": {"$ref": "#/$defs/Color"},
            "size": {"anyOf": [{"type": "integer", "maximum": 99}, {"type": "null"}], "default": None, "title": "Size"},
        },
        "required": ["color"],
        "title": "Shirt",
        "type": "object",
    },
    {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/a", "type": "boolean"},
]


def random_schema(rng: random.Random, depth: int = 3) -> Schema:
    """A schema of moderate size, of keywords that can all be enforced."""
    if depth and rng.random() < 0.4:
        return _random_container(rng, depth)
    kind = rng.choice(["boolean", "null", "integer", "string", "enum", "pattern"])
    if kind == "integer":
        low = rng.randint(-50, 50)
        return {"type": "integer", "minimum": low, "maximum": low + rng.randint(0, 1000)}
    if kind == "string":
        least = rng.randint(0, 3)
        return {"type": "string", "minLength": least, "maxLength": least + rng.randint(0, 6)}
    if kind == "enum":
        return {"enum": rng.sample(["a", "ab", "abc", 1, 12, 1.5, None, True, [], {}, [1, 2]], rng.randint(1, 5))}
    if kind == "pattern":
        return {"type": "string", "pattern": rng.choice(["^a+b?$", "^[0-9]{1,3}$", "^(x|yz)*$", "^.{2}$", "^\\w\\d$"])}
    return {"type": kind}


def _random_container(rng: random.Random, depth: int) -> Schema:
    kind = rng.choice(["array", "object", "object", "anyOf"])
    if kind == "array":
        least = rng.randint(0, 2)
        items = random_schema(rng, depth - 1)
        return {"type": "array", "items": items, "minItems": least, "maxItems": least + rng.randint(0, 2)}
    if kind == "object":
        names = rng.sample(["a", "b", "name", "é", "long property name", "x-y"], rng.randint(0, 4))
        return {
            "type": "object",
            "properties": {name: random_schema(rng, depth - 1) for name in names},
            "required": [name for name in names if rng.random() < 0.7],
            "additionalProperties": False,
        }
    return {"anyOf": [random_schema(rng, depth - 1) for _ in range(rng.randint(1, 3))]}
