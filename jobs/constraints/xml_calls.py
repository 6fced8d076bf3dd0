"""Rules for tool calls in the XML of Qwen3-Coder, where each argument stands between tags of its own.

    <function=weather>
    <parameter=city>
    Bonn
    </parameter>
    </function>

A text has no quotes, so its rule is a regular expression. A value of another type is JSON. The worker finds out in the
same way how a value is written (`model.text.tool_calls`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from jobs.constraints.grammar import json_in_lark, regex_in_lark
from jobs.constraints.parameter_types import is_text, resolved, types_of
from jobs.files.formats.json_line import LineInvalid, shown

END_TAG = "</parameter>"
SHARED_RULES = (
    r"TEXT: /(?s:.*)/ & ~/(?s:.*)<\/parameter>(?s:.*)/",  # a value ends at the first end tag
    r'END: "\n</parameter>\n"',
)
_ANNOTATIONS = frozenset(
    {"$comment", "$defs", "$id", "$schema", "default", "definitions", "deprecated", "description", "examples"}
    | {"readOnly", "title", "writeOnly"}
)
_NO_REFERENCES = frozenset({"const", "default", "enum", "examples"})  # keywords whose values are no schemas
# Both spellings, because the template writes the values of earlier calls as Python does.
_SPELLINGS = {"boolean": ("true", "false", "True", "False"), "null": ("null", "None")}

_encode = msgspec.json.Encoder().encode


class XmlCallRules:
    """Rules of the calls of one function.

    Args:
        function: The function, in the shape of the OpenAI API. Calls have the parameters that its schema names, in
            this order, and no others.
        place: Number of the function. It makes the names of rules unique.

    Raises:
        LineInvalid: The function or a parameter cannot be written in XML. Or the function is strict, and a keyword of
            its schema cannot be enforced.
    """

    def __init__(self, function: Mapping[str, Any], place: int) -> None:
        self.unenforced: set[str] = set()  # keywords that the rules ignore
        self._is_strict = function.get("strict") is True
        self._root = function.get("parameters") or {}
        start, rules = [quoted(f"<function={_tag_name(function['name'])}>\n")], []
        for number, (name, schema, is_required) in enumerate(self._parameters()):
            rule = f"parameter_{place}_{number}"
            start.append(rule if is_required else f"{rule}?")
            tag = quoted(f"<parameter={_tag_name(name)}>\n")
            texts = self._texts(schema) if is_text(types_of(schema, self._root)) else self._spellings(schema)
            if texts:
                rules += [f"{rule}: {tag} {rule.upper()}", f"{rule.upper()}: ({' | '.join(texts)}) END"]
            else:
                none = f" | {quoted('None')}" if self._may_be_null(schema) else ""
                rules.append(f"{rule}: {tag} (json_{rule}{none}) END")
                rules.append(f"json_{rule}: %json {json_in_lark(self._alone(schema), self._is_strict)}")
        self.rules = [f'body_{place}: {" ".join(start)} "</function>"', *rules]
        if self.unenforced and self._is_strict:
            raise _unusable(
                f"it has {', '.join(sorted(self.unenforced))}, which cannot be enforced; leave it out, or set "
                "`strict` to false"
            )

    def _parameters(self) -> Iterator[tuple[str, object, bool]]:
        """Iterate over the parameters: name, schema, and whether a call must have the parameter."""
        root = resolved(self._root, self._root)
        self._ignore_all_but({"type", "properties", "required", "additionalProperties"}, root)
        types, properties, required = root.get("type", "object"), root.get("properties"), root.get("required")
        if types != "object" and not (isinstance(types, list) and "object" in types):
            raise _unusable(f'its `type` is {shown(types)}; arguments are of the type "object"')
        properties = properties if isinstance(properties, dict) else {}
        required = required if isinstance(required, list) else []
        yield from ((name, schema, name in required) for name, schema in properties.items())
        for name in dict.fromkeys(map(str, required)):
            if name not in properties:
                if root.get("additionalProperties") is False:
                    raise _unusable(f"it requires {shown(name)}, but does not allow it")
                yield name, root.get("additionalProperties"), True

    def _texts(self, schema: object) -> list[str]:
        """Return the texts that a parameter may have, each as an expression of a terminal in Lark's syntax."""
        said = resolved(schema, self._root)
        values = [said["const"]] if "const" in said else said.get("enum")
        options = said.get("anyOf") or said.get("oneOf")
        if isinstance(values, list):
            self._ignore_all_but({"type", "enum", "const"}, said)
            texts = ["null" if value is None else value for value in values if isinstance(value, str | None)]
            if not texts or any(END_TAG in text for text in texts):
                raise _unusable(f"none of the values {shown(values)} can be written, or one of them has `{END_TAG}`")
            return [quoted(text) for text in texts]
        if "type" not in said and isinstance(options, list):
            self._ignore_all_but({"anyOf", "oneOf"}, said)
            written = [option for option in options if is_text(types_of(option, self._root))]
            if "oneOf" in said and len(written) > 1:
                self.unenforced.add("`oneOf`")
            return [text for option in written for text in self._texts(option)]
        self._ignore_all_but({"type", "pattern", "minLength", "maxLength"}, said)
        types = types_of(said, self._root)
        free = [_free_text(said)] if "string" in types or not types else []
        return [*free, '"null"'] if "null" in types else free

    def _spellings(self, schema: object) -> list[str]:
        """Return all ways to write a value, if the schema says no more than that it is a boolean or null."""
        said = resolved(schema, self._root)
        types = types_of(said, self._root)
        if not types <= _SPELLINGS.keys() or not said.keys() <= _ANNOTATIONS | {"type"}:
            return []
        return [quoted(text) for kind in sorted(types) for text in _SPELLINGS[kind]]

    def _may_be_null(self, schema: object) -> bool:
        said = resolved(schema, self._root)
        return "null" in types_of(said, self._root) and said.keys().isdisjoint({"allOf", "const", "enum"})

    def _alone(self, schema: object) -> str:
        """Return the schema of a parameter as JSON of its own, with everything that its references name."""
        text = quoted(schema)
        if '"$ref"' not in text:
            return text
        return quoted({**_moved(schema), "$defs": {"parameters": _moved(self._root)}})

    def _ignore_all_but(self, enforced: set[str], schema: Mapping[str, Any]) -> None:
        ignored = (key for key in schema if key not in enforced | _ANNOTATIONS and not key.startswith("x-"))
        self.unenforced.update(f"`{key}`" for key in ignored)


def rules_of_any_call(function: Mapping[str, Any], place: int) -> list[str]:
    """Return the rules of calls of one function with any parameters: their names, order and texts are free.

    The arguments and errors are those of `XmlCallRules`, but the function's schema does not matter.
    """
    start = quoted(f"<function={_tag_name(function['name'])}>\n")
    return [
        f'body_{place}: {start} ANY_{place}* "</function>"',
        f'ANY_{place}: "<parameter=" /[^>\\n]+/ ">\\n" TEXT END',
    ]


def quoted(value: object) -> str:
    """Return a value as JSON. A text is then a literal in Lark's syntax."""
    return _encode(value).decode()


def _free_text(schema: Mapping[str, Any]) -> str:
    """Return the texts that a schema's length and pattern allow. Lengths count characters."""
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", "")
    pattern = schema.get("pattern")
    parts = ["TEXT"]
    if (shortest, longest) != (0, ""):
        parts.append(regex_in_lark(f"(?s:.{{{shortest},{longest}}})"))
    if isinstance(pattern, str):
        parts.append(regex_in_lark(_anywhere(pattern)))
    return f"({' & '.join(parts)})"


def _anywhere(pattern: str) -> str:
    """Return a pattern that matches a whole text if the given one matches a part of it, as in JSON Schema."""
    has_alternatives = "|" in pattern  # then an anchor may belong to one of them, and llguidance refuses it
    starts = pattern.startswith("^") and not has_alternatives
    ends = pattern.endswith("$") and not pattern.endswith("\\$") and not has_alternatives
    core = pattern[starts : len(pattern) - ends]
    return f"{'' if starts else '(?s:.*)'}(?:{core}){'' if ends else '(?s:.*)'}"


def _moved(schema: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a schema whose references are right if the root of all parameters becomes `#/$defs/parameters`."""
    if isinstance(schema, list):
        return [_moved(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: f"#/$defs/parameters{value[1:]}"
        if key == "$ref" and isinstance(value, str) and (value == "#" or value.startswith("#/"))
        else value
        if key in _NO_REFERENCES
        else _moved(value)
        for key, value in schema.items()
    }


def _tag_name(name: str) -> str:
    if not name or ">" in name or "\n" in name:
        raise _unusable(f"the name {shown(name)} cannot be written in XML: it is empty, or has `>` or a newline")
    return name


def _unusable(reason: str) -> LineInvalid:
    return LineInvalid(f"a schema of `tools` cannot be used: {reason}")
