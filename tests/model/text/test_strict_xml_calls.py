"""Strict tools bind the calls that a model makes by itself in Qwen3-Coder's XML. The text around them stays free."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from jobs.constraints.grammar import grammar_of
from jobs.constraints.tool_calls import strict_calls
from jobs.files.formats.json_line import LineInvalid
from jobs.records.prompt import Prompt
from model.grammar import Grammar, Grammars
from model.text.tokenizer import Tokenizer
from model.text.tool_calls import ParsedCall, ToolCallParser
from tests.model.text.test_forced_calls import EOS, grammars, said, tokenizer
from tests.model.text.test_forced_xml_calls import PROPERTIES, parser, template, tool

__all__ = ["grammars", "parser", "template", "tokenizer"]  # fixtures

Tools = tuple[dict[str, Any], ...]


def strict(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    """A tool as OpenAI's clients write a strict one."""
    function = tool(name, properties, list(properties), additionalProperties=False)["function"]
    return {"type": "function", "function": {**function, "strict": True}}


STRICT = strict("all", PROPERTIES)
FREE = tool("free", {"zone": {"type": "integer"}, "text": {"type": "string", "format": "date"}}, ["zone"])
TOOLS = (FREE, STRICT)
SMALL = ("count", "code", "unit", "maybe", "address", "list")  # parameters of different kinds


def grammar(grammars: Grammars, tools: Tools = TOOLS) -> Grammar:
    constraint = strict_calls(Prompt(0, "a", messages=({},), tools=tools), "xml")
    assert constraint is not None
    return grammars.compiled(grammar_of(constraint))


def fault(grammar: Grammar, tokenizer: Tokenizer, text: str) -> str | None:
    """Why the grammar does not allow a text. None if it does, and the text may end there."""
    matcher = grammar.matcher()
    for token_id in [*tokenizer.encode(text), EOS]:
        matcher.accept(token_id)
    return matcher.fault


def called(name: str, **values: str) -> str:
    written = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())
    return f"<tool_call>\n<function={name}>\n{written}</function>\n</tool_call>"


@pytest.mark.parametrize("name", SMALL)
def test_a_call_that_a_random_model_has_begun_is_read_back_and_valid_if_its_tool_is_strict(
    tokenizer: Tokenizer, grammars: Grammars, parser: ToolCallParser, name: str
) -> None:
    tools = (FREE, *(strict(each, {each: PROPERTIES[each], "text": PROPERTIES["text"]}) for each in SMALL))
    constraint = strict_calls(Prompt(0, "a", messages=({},), tools=tools), "xml")
    assert constraint is not None
    begun = tokenizer.encode(f"I look. <tool_call>\n<function={name}>\n")
    closing = tokenizer.encode("\n</parameter>\n") + tokenizer.encode("</function>")
    ids = said(grammars, grammar_of(constraint), 1, 1500, begun, parser.end_id, closing)
    text = tokenizer.decode(ids)
    assert text.startswith("I look. ") and text.endswith("</function>\n</tool_call>")
    answer = parser.parse(ids, text, tools)
    assert (answer.content, answer.num_malformed, [call.name for call in answer.calls]) == ("I look. ", 0, [name])
    arguments = json.loads(answer.calls[0].arguments)
    assert arguments.keys() == {name, "text"}
    schema = next(each["function"]["parameters"] for each in tools if each["function"]["name"] == name)
    jsonschema.validate(arguments, schema)


def test_text_without_a_call_is_free_also_if_it_looks_like_a_part_of_one(
    tokenizer: Tokenizer, grammars: Grammars, parser: ToolCallParser
) -> None:
    text = "Call <function=all>\n<parameter=x>\n</parameter> {yourself}\n\n"
    assert fault(grammar(grammars), tokenizer, text) is None
    assert fault(grammar(grammars), tokenizer, "") is None
    assert parser.parse(tokenizer.encode(text), text, TOOLS).content == text


def test_text_may_follow_a_call_and_further_calls_may_follow_the_text(
    tokenizer: Tokenizer, grammars: Grammars, parser: ToolCallParser
) -> None:
    tools = (FREE, strict("f", {"city": {"enum": ["Bonn"]}, "days": {"type": "integer"}}))
    strict_call, free_call = called("f", city="Bonn", days="3"), called("free", zone="7", more="a\nb")
    text = f"One: {strict_call} and two:\n{free_call}\n{strict_call} Done."
    assert fault(grammar(grammars, tools), tokenizer, text) is None
    answer = parser.parse(tokenizer.encode(text), text, tools)
    first = ParsedCall("f", '{"city": "Bonn", "days": 3}')
    assert answer.calls == (first, ParsedCall("free", '{"zone": 7, "more": "a\\nb"}'), first)
    assert answer.content == "One:  and two: Done."


@pytest.mark.parametrize(
    "wrong",
    [
        called("f", city="Berlin", days="3"),
        called("f", city="Bonn", days="three"),
        called("f", days="3", city="Bonn"),
        called("f", city="Bonn"),
        called("f", city="Bonn", days="3", more="1"),
        called("unknown"),
        called("free", zone="7").replace("</function>", "and so on</function>"),
        '<tool_call>\n{"name": "f", "arguments": {"city": "Bonn", "days": 3}}\n</tool_call>',
        "no call begins here</tool_call>",
        "<|im_start|>",
    ],
)
def test_a_call_cannot_leave_the_schema_of_a_strict_tool_nor_the_form_of_calls(
    tokenizer: Tokenizer, grammars: Grammars, wrong: str
) -> None:
    tools = (FREE, strict("f", {"city": {"enum": ["Bonn"]}, "days": {"type": "integer"}}))
    assert fault(grammar(grammars, tools), tokenizer, f"So: {wrong}") is not None


def test_what_the_template_writes_around_and_in_calls_is_allowed_token_for_token(
    grammars: Grammars, template: Tokenizer
) -> None:
    tools = (FREE, strict("f", {"free": {"type": "string"}, "flag": {"type": "boolean"}}))
    calls = [
        {"function": {"name": "f", "arguments": {"free": 'Two\nlines, "quoted"\n', "flag": True}}},
        {"function": {"name": "free", "arguments": {"zone": 1, "more": ["a", {"b": None}]}}},
        {"function": {"name": "free", "arguments": {}}},
    ]
    question = [{"role": "user", "content": "Hi"}]
    answer = {"role": "assistant", "content": "I look.", "tool_calls": calls}
    prompt = template.encode_messages(question)
    written = template.encode_messages([*question, answer], add_generation_prompt=False)[len(prompt) :]
    text = template.decode(written[: written.index(template.encode("<|im_end|>")[0])], skip_special_tokens=False)
    assert "<parameter=flag>\nTrue" in text
    assert fault(grammar(grammars, tools), template, text) is None


def test_a_strict_tool_that_cannot_be_enforced_in_xml_is_refused_and_another_tool_is_not() -> None:
    dates = {"day": {"type": "string", "format": "date"}}
    with pytest.raises(LineInvalid, match="a schema of `tools` cannot be used: it has `format`, which cannot be enfor"):
        strict_calls(Prompt(0, "a", messages=({},), tools=(strict("f", dates),)), "xml")
    assert strict_calls(Prompt(0, "a", messages=({},), tools=(tool("f", dates, []), STRICT)), "xml") is not None
    with pytest.raises(LineInvalid, match=r'the name "a>b" cannot be written in XML'):
        strict_calls(Prompt(0, "a", messages=({},), tools=(tool("a>b", {}, []), STRICT)), "xml")
