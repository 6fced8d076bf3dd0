"""Read the fields that ask for a constraint, in the spellings of the OpenAI API and of vLLM.

Each reader takes a field's name and its value, which is not null. It raises `LineInvalid` if the value is wrong. It
does not check schemas and patterns themselves (`jobs.constraints.checker`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import msgspec

from jobs.files.formats.json_line import Json, LineInvalid, decode_object, shown
from jobs.records.constraint import FREE_TEXT, JSON_OBJECT, Constraint

_TYPES = '"text", "json_object" or "json_schema"'
_SCHEMA_KEYS = frozenset({"name", "description", "schema", "strict"})
# Settings of vLLM's `structured_outputs` that are not kinds of constraints.
_WHITESPACE_KEYS = frozenset({"whitespace_pattern", "disable_any_whitespace"})
_encode = msgspec.json.Encoder().encode
_HARMLESS_KEYS = frozenset({"disable_fallback", "disable_additional_properties", "backend"})


def response_format(key: str, value: Json) -> Constraint:
    """Read OpenAI's `response_format`: text, json_object, or json_schema with its `json_schema` object.

    Real files also have that inner object alone, or the schema alone. Both can mean nothing else.
    """
    try:
        return _format_of_text(key, _encode(value))
    except (OverflowError, RecursionError):  # the slow reader names the fault
        return _format(key, value)


@lru_cache(maxsize=8)  # usually all lines of a file have one format
def _format_of_text(key: str, text: bytes) -> Constraint:
    return _format(key, msgspec.json.decode(text))


def _format(key: str, value: Json) -> Constraint:
    said = _object(key, value)
    kind = said.get("type")
    if kind is None and said.get("schema") is not None:
        return _named_schema(key, said)
    if kind == "object" and "properties" in said:
        return json(key, value)
    if kind == "text":
        return FREE_TEXT
    if kind == "json_object":
        schema = said.get("schema")  # llama.cpp's and Together's spelling of a schema
        return JSON_OBJECT if schema is None else json(f"{key}.schema", schema)
    if kind != "json_schema":
        raise LineInvalid(f"`{key}.type` is {shown(kind)}; it must be {_TYPES}")
    return _named_schema(f"{key}.json_schema", _object(f"{key}.json_schema", said.get("json_schema")))


def schema_or_format(said: dict[str, Json]) -> Constraint:
    """Read a JSON schema, or a `response_format` or its `json_schema` with a schema inside."""
    if said.get("type") == "json_schema":
        return response_format("response_format", said)
    if "name" in said and "schema" in said:
        return _named_schema("response_format.json_schema", said)
    return json("schema", said)


def text_format(key: str, value: Json) -> Constraint:
    """Read the `text.format` of a `/v1/responses` body, which has the schema's fields beside the type."""
    said = _object(key, value)
    if said.get("type") != "json_schema":
        return response_format(key, value)
    return _named_schema(key, {name: each for name, each in said.items() if name != "type"})


def structured_outputs(key: str, value: Json) -> Constraint:
    """Read vLLM's `structured_outputs`: an object with one kind of constraint."""
    said = {name: each for name, each in _object(key, value).items() if each is not None and each is not False}
    kinds = [name for name in said if name not in _WHITESPACE_KEYS | _HARMLESS_KEYS]
    unknown = next((name for name in kinds if name not in _READERS), None)
    if unknown is not None:
        raise LineInvalid(f"`{key}` has {shown(unknown)}, which is not supported; it must have one of {_kinds()}")
    if len(kinds) != 1:
        raise LineInvalid(f"`{key}` has {len(kinds)} kinds of constraints; it must have one of {_kinds()}")
    constraint = _READERS[kinds[0]](f"{key}.{kinds[0]}", said[kinds[0]])
    if said.get("disable_any_whitespace"):
        return with_whitespace(constraint, "")
    pattern = said.get("whitespace_pattern")
    return constraint if pattern is None else with_whitespace(constraint, _text(f"{key}.whitespace_pattern", pattern))


def json(key: str, value: Json) -> Constraint:
    """Read a JSON schema: an object, or the text of one."""
    if type(value) is str:
        try:
            value = decode_object(value.encode())
        except (LineInvalid, UnicodeEncodeError) as error:
            raise LineInvalid(f"`{key}` is no JSON schema: {str(error).replace('the line', 'its text')}") from None
    return _schema(key, value, False)


def json_object(key: str, value: Json) -> Constraint | None:
    """Read a flag that asks for any JSON object. None if it is false."""
    return None if value is False else _any_object(key, value)


def regex(key: str, value: Json) -> Constraint:
    """Read a regular expression, which the whole text must match."""
    return Constraint("regex", _text(key, value))


def grammar(key: str, value: Json) -> Constraint:
    """Read a grammar in Lark's syntax or in GBNF, the syntax of llama.cpp."""
    return Constraint("grammar", _text(key, value))


def choice(key: str, value: Json) -> Constraint:
    """Read a list of texts, one of which the whole text must be."""
    if type(value) is not list or not value or not all(type(each) is str and each for each in value):
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a list of texts that are not empty")
    return Constraint("choice", msgspec.json.encode(list(dict.fromkeys(value))).decode())


def with_whitespace(constraint: Constraint, pattern: str) -> Constraint:
    """Return a constraint with another pattern for the white space of JSON. Other kinds do not change."""
    return msgspec.structs.replace(constraint, whitespace=pattern) if constraint.kind == "json" else constraint


def _any_object(key: str, value: Json) -> Constraint:
    if value is not True:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be true or false")
    return JSON_OBJECT


def take_constraint(said: dict[str, Json]) -> Constraint | None:
    """Take the constraint out of a line's settings. Raises `LineInvalid` if there is only its white space."""
    constraint: Constraint | None = said.pop("constraint", None)
    whitespace: str | None = said.pop("whitespace", None)
    if whitespace is None:
        return constraint
    if constraint is None:
        raise LineInvalid("`guided_whitespace_pattern` needs a schema beside it, such as `guided_json`")
    return with_whitespace(constraint, whitespace)


_READERS: dict[str, Callable[[str, Json], Constraint]] = {
    "json": json,
    "regex": regex,
    "choice": choice,
    "grammar": grammar,
    "json_object": _any_object,
}


def _named_schema(key: str, said: dict[str, Json]) -> Constraint:
    if not _SCHEMA_KEYS.issuperset(said):
        unknown = next(name for name in said if name not in _SCHEMA_KEYS)
        raise LineInvalid(f"`{key}` has the key {shown(unknown)}; known keys are name, description, schema, strict")
    schema, strict = said.get("schema"), said.get("strict")
    if schema is None:
        raise LineInvalid(f"`{key}` has no `schema`; it must be an object with a JSON schema")
    if strict is not None and type(strict) is not bool:
        raise LineInvalid(f"`{key}.strict` is {shown(strict)}; it must be true or false")
    if type(schema) is dict:
        return _schema(f"{key}.schema", schema, bool(strict))
    return msgspec.structs.replace(json(f"{key}.schema", schema), strict=bool(strict))


def _schema(key: str, schema: Json, strict: bool) -> Constraint:
    try:
        return _json_constraint(_encode(_object(key, schema)), strict)
    except (OverflowError, RecursionError):
        raise LineInvalid(f"`{key}` holds an integer of more than 64 bits, or is nested too deeply") from None


@lru_cache(maxsize=8)  # usually all lines of a file have one schema; its readers compare the same object quickly
def _json_constraint(text: bytes, strict: bool) -> Constraint:
    return Constraint("json", text.decode(), strict)


def _object(key: str, value: Json) -> dict[str, Json]:
    if type(value) is not dict:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be an object")
    return value


def _text(key: str, value: Json) -> str:
    if type(value) is not str or not value:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a text that is not empty")
    return value


def _kinds() -> str:
    return ", ".join(f"`{name}`" for name in _READERS)
