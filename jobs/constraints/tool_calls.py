"""Constraints on the tool calls of a completion."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from jobs.constraints.grammar import json_in_lark
from jobs.constraints.xml_calls import SHARED_RULES, XmlCallRules, quoted, rules_of_any_call
from jobs.records.constraint import Constraint
from jobs.records.model_card import ToolFormat
from jobs.records.prompt import Prompt

_ANY_OBJECT = {"type": "object"}
_NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}
_CALL = 'call: <tool_call> "\\n" body "\\n" </tool_call>'
_TEXT_WITH_CALLS = ("start: text (call text)*", r"text: /(.|\n)*/")
_XML_MARK = "// Calls in the XML of Qwen3-Coder."  # a comment in Lark's syntax


def forced_calls(tools: Sequence[dict[str, Any]], names: Collection[str], several: bool) -> Constraint:
    """Return a grammar of calls, and nothing else.

    Args:
        tools: Tools in the shape of the OpenAI API. Arguments follow the schema of their tool.
        names: Functions that may be called.
        several: True if more than one call may follow.
    """
    return Constraint("grammar", "\n".join([_start(several), *_call_rules(_functions(tools, names))]))


def forced_xml_calls(
    tools: Sequence[dict[str, Any]], names: Collection[str], several: bool
) -> tuple[Constraint, frozenset[str]]:
    """Return a grammar of calls in XML, and the keywords of schemas that the grammar does not enforce.

    The arguments are those of `forced_calls`.

    Raises:
        LineInvalid: A function cannot be called in XML, or is strict and has a keyword that cannot be enforced.
    """
    functions = [XmlCallRules(function, place) for place, function in enumerate(_functions(tools, names))]
    rules = [_XML_MARK, _start(several), *_xml_call_rules([function.rules for function in functions])]
    ignored = frozenset(keyword for function in functions for keyword in function.unenforced)
    return Constraint("grammar", "\n".join(rules)), ignored


def is_xml(calls: Constraint) -> bool:
    """Return whether a grammar of forced calls is one of calls in XML."""
    return calls.text.startswith(_XML_MARK)


def strict_calls(prompt: Prompt, calls: ToolFormat) -> Constraint | None:
    """Return a grammar of any text with calls inside, if a tool of the prompt is strict. None if no tool is.

    The calls are those that the model makes by itself. Arguments of a strict tool follow its schema. Those of another
    tool are any JSON object, or in XML any parameters. The text has no control tokens but the tags of calls.

    Args:
        prompt: The line. The grammar is for its whole answer.
        calls: How the model writes calls.

    Raises:
        LineInvalid: A function cannot be called in XML, or is strict and has a keyword that cannot be enforced in XML.
    """
    if not prompt.tools or prompt.tool_choice != "auto" or prompt.forces_calls:
        return None
    if not num_strict(prompt.tools):
        return None
    functions = [tool["function"] for tool in prompt.tools]
    if calls == "xml":
        bodies = [
            XmlCallRules(each, place).rules if _is_strict(each) else rules_of_any_call(each, place)
            for place, each in enumerate(functions)
        ]
        rules = _xml_call_rules(bodies)
    else:
        rules = _call_rules([each if _is_strict(each) else {**each, "parameters": _ANY_OBJECT} for each in functions])
    return Constraint("grammar", "\n".join([*_TEXT_WITH_CALLS, *rules]))


def num_strict(tools: Sequence[dict[str, Any]]) -> int:
    """Return the number of strict tools."""
    return sum(_is_strict(tool["function"]) for tool in tools)


def _call_rules(functions: Sequence[dict[str, Any]]) -> list[str]:
    """Return the rules of a call, written as Qwen3's chat template writes it (Hermes style).

    `<tool_call>` and its end tag are tokens of the model here, not texts.
    """
    rules = [_CALL, _bodies(len(functions))]
    for place, function in enumerate(functions):
        beginning = f'{{"name": {quoted(function["name"])}, "arguments": '
        schema = quoted(function.get("parameters") or _NO_PARAMETERS)
        rules.append(f'body_{place}: {quoted(beginning)} arguments_{place} "}}"')
        rules.append(f"arguments_{place}: %json {json_in_lark(schema, _is_strict(function))}")
    return rules


def _xml_call_rules(bodies: Sequence[Sequence[str]]) -> list[str]:
    """Return the rules of a call in XML. Each function has the rules of its own body."""
    return [_CALL, _bodies(len(bodies)), *SHARED_RULES, *(rule for body in bodies for rule in body)]


def _bodies(count: int) -> str:
    return "body: " + " | ".join(f"body_{place}" for place in range(count))


def _is_strict(function: dict[str, Any]) -> bool:
    return function.get("strict") is True


def _functions(tools: Sequence[dict[str, Any]], names: Collection[str]) -> list[dict[str, Any]]:
    return [tool["function"] for tool in tools if tool["function"]["name"] in names]


def _start(several: bool) -> str:
    return 'start: call ("\\n" call)*' if several else "start: call"
