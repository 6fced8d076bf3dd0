"""A grammar of forced calls in Qwen3-Coder's XML gives calls that are read back whole, with valid arguments."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from jobs.constraints.grammar import grammar_of
from jobs.constraints.tool_calls import forced_xml_calls
from jobs.files.formats.json_line import LineInvalid
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from model.grammar import Grammars
from model.text.chat_template import ChatTemplate
from model.text.text_encoder import Encoded
from model.text.tokenizer import Tokenizer
from model.text.tokenizer_file import load_backend
from model.text.tool_calls import ParsedCall, ToolCallParser
from tests.model.text.chat.templates import XML_CALLS
from tests.model.text.test_forced_calls import DEMO, EOS, grammars, said, tokenizer
from worker.shards.prompt_encoder import PromptEncoder

__all__ = ["grammars", "tokenizer"]  # fixtures

ADDRESS = {
    "type": "object",
    "properties": {"zip": {"type": "string", "pattern": "^[0-9]{2}$"}, "next": {"$ref": "#/$defs/Address"}},
    "required": ["zip"],
    "additionalProperties": False,
}
# Parameters of every kind that Pydantic and people write, each of which a random model can end.
PROPERTIES: dict[str, Any] = {
    "text": {"type": "string", "maxLength": 5},
    "long": {"type": "string", "minLength": 3, "maxLength": 6, "description": "Not short."},
    "code": {"type": "string", "pattern": "^[a-c]{2}-?$"},
    "part": {"type": "string", "pattern": "b[0-9]", "maxLength": 5},
    "unit": {"enum": ["C", "F", "both of them"]},
    "fixed": {"const": "yes\nor no"},
    "level": {"enum": [1, 2, 30]},
    "count": {"type": "integer", "minimum": 1, "maximum": 20},
    "share": {"type": "number", "minimum": 0, "maximum": 1},
    "flag": {"type": "boolean"},
    "maybe": {"anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "null"}], "default": None},
    "mixed": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^x$"}]},
    "number_or_null": {"type": ["integer", "null"], "maximum": 9, "minimum": 0},
    "flag_or_null": {"type": ["boolean", "null"]},
    "nothing": {"type": "null"},
    "list": {"type": "array", "items": {"$ref": "#/$defs/Colour"}, "maxItems": 2},
    "colour": {"$ref": "#/$defs/Colour"},
    "address": {"$ref": "#/$defs/Address"},
    "old": {"allOf": [{"$ref": "#/$defs/Level"}]},
    "deep": {"type": "array", "items": {"$ref": "#/properties/text"}, "minItems": 1, "maxItems": 1},
}
DEFS = {
    "Address": ADDRESS,
    "Colour": {"enum": ["red", "blue"], "type": "string"},
    "Level": {"type": "integer"} | {"enum": [4, 5]},
}


def tool(name: str, properties: dict[str, Any], required: list[str], **more: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required, "$defs": DEFS, **more}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [tool(f"get {name}", {name: each, "text": PROPERTIES["text"]}, [name]) for name, each in PROPERTIES.items()]
TOOLS += [tool("all", PROPERTIES, list(PROPERTIES)[::2]), {"type": "function", "function": {"name": "now"}}]
SCHEMAS: dict[str, Any] = {each["function"]["name"]: each["function"].get("parameters", {}) for each in TOOLS}


@pytest.fixture(scope="module")
def parser(tokenizer: Tokenizer) -> ToolCallParser:
    found = ToolCallParser.of(tokenizer, "xml")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def template() -> Tokenizer:
    """The demo's tokenizer with a template that writes calls in XML."""
    return Tokenizer(load_backend(DEMO / "tokenizer.json"), ChatTemplate({"default": XML_CALLS}, {}))


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_forced_call_is_read_back_and_its_arguments_are_valid(
    tokenizer: Tokenizer, grammars: Grammars, parser: ToolCallParser, name: str
) -> None:
    constraint, unenforced = forced_xml_calls(TOOLS, [name], several=False)
    assert not unenforced
    closing = tokenizer.encode("\n</parameter>\n")
    for seed in range(3):
        ids = said(grammars, grammar_of(constraint), seed, max_tokens=1500, prefers=closing)
        text = tokenizer.decode(ids)
        answer = parser.parse(ids, text, TOOLS)
        assert (answer.content, answer.num_malformed, [call.name for call in answer.calls]) == ("", 0, [name]), text
        jsonschema.validate(json.loads(answer.calls[0].arguments), SCHEMAS[name])


def test_one_of_the_named_functions_is_called_once_or_several_times(
    tokenizer: Tokenizer, grammars: Grammars, parser: ToolCallParser
) -> None:
    names = ["get unit", "get flag", "now"]
    called = []
    for seed in range(20):
        ids = said(grammars, grammar_of(forced_xml_calls(TOOLS, names, several=True)[0]), seed, 600)
        called.append([call.name for call in parser.parse(ids, tokenizer.decode(ids), TOOLS).calls])
    assert {name for each in called for name in each} == set(names)
    assert {1, 2} <= set(map(len, called))


# Values as they stand in the arguments of calls that programs put into histories.
VALUES: list[dict[str, Any]] = [
    {"free": 'Two\nlines, </p> and "quotes"\n'},
    {"free": ""},
    {"free": "\n\nx"},
    {"free": "<function=x>\n<parameter=free>\n</function>"},
    {"count": 7, "share": 0.25, "flag": True},
    {"flag": False, "number_or_null": None, "flag_or_null": None},
    {"list": ["red", "blue"], "address": {"zip": "53", "next": {"zip": "11"}}},
    {},
]


@pytest.mark.parametrize("arguments", VALUES)
def test_what_the_template_writes_is_allowed_token_for_token_and_read_back(
    grammars: Grammars, parser: ToolCallParser, template: Tokenizer, arguments: dict[str, Any]
) -> None:
    tools = [tool("f", {"free": {"type": "string"}, **PROPERTIES}, [])]
    question = [{"role": "user", "content": "Hi"}]
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}] * 2}
    prompt = template.encode_messages(question)
    written = template.encode_messages([*question, call], add_generation_prompt=False)[len(prompt) :]
    end = written.index(template.encode("<|im_end|>")[0])
    matcher = grammars.compiled(grammar_of(forced_xml_calls(tools, ["f"], several=True)[0])).matcher()
    for token_id in written[:end]:
        matcher.accept(token_id)
        assert matcher.fault is None, template.decode(written[:end])
    matcher.accept(EOS)
    assert (matcher.ended, matcher.fault) == (True, None)
    found = parser.parse(written[:end], template.decode(written[:end]), tools)
    assert (found.content, found.num_malformed) == ("", 0)
    assert [json.loads(each.arguments) for each in found.calls] == [arguments] * 2


@pytest.mark.parametrize(("written", "value"), [("a", "a"), ("b", "b"), ("null", None)])
def test_a_parameter_that_may_be_a_text_or_null_may_be_each_of_them(
    tokenizer: Tokenizer, grammars: Grammars, parser: ToolCallParser, written: str, value: str | None
) -> None:
    text = f"<tool_call>\n<function=get maybe>\n<parameter=maybe>\n{written}\n</parameter>\n</function>\n</tool_call>"
    matcher = grammars.compiled(grammar_of(forced_xml_calls(TOOLS, ["get maybe"], several=False)[0])).matcher()
    ids = tokenizer.encode(text)
    for token_id in [*ids, EOS]:
        matcher.accept(token_id)
    assert (matcher.ended, matcher.fault) == (True, None)
    assert [json.loads(call.arguments) for call in parser.parse(ids, text, TOOLS).calls] == [{"maybe": value}]


def test_a_history_may_have_arguments_as_objects_or_as_texts(template: Tokenizer) -> None:
    encoder = PromptEncoder(template, ModelCard("m", 1280, 2048, True, tools="xml"))

    def encoded(arguments: Any) -> Encoded | None:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
        answer: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": [call]}
        return encoder.encode([Prompt(0, "a", messages=({"role": "user", "content": "Hi"}, answer))])[0]

    found = encoded('{"city": "Bonn", "days": [1, true]}')
    assert isinstance(found, list) and found == encoded({"city": "Bonn", "days": [1, True]})
    assert encoded("") == encoded({}) != found
    assert isinstance(encoded("[1]"), ValueError)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (tool("a>b", {}, []), 'the name "a>b" cannot be written in XML'),
        (tool("f", {"a\nb": {}}, []), 'the name "a\\nb" cannot be written in XML'),
        (tool("f", {}, ["a"], additionalProperties=False), 'it requires "a", but does not allow it'),
        (tool("f", {}, [], type="array"), 'its `type` is "array"; arguments are of the type "object"'),
        (tool("f", {"a": {"enum": ["</parameter>"]}}, []), "one of them has `</parameter>`"),
        (tool("f", {"a": {"type": "string", "enum": [1]}}, []), "none of the values a list of 1 can be written"),
    ],
)
def test_what_cannot_be_written_in_xml_is_refused(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(LineInvalid) as raised:
        forced_xml_calls([wrong], [wrong["function"]["name"]], several=True)
    assert str(raised.value).startswith("a schema of `tools` cannot be used: ")
    assert reason in str(raised.value)


def test_keywords_that_are_not_enforced_are_named_and_refused_for_strict_tools() -> None:
    properties = {"day": {"type": "string", "format": "date", "description": "A day."}, "any": {"x-mine": 1}}
    said = tool("f", properties, ["day", "more"], minProperties=3)
    _, unenforced = forced_xml_calls([said], ["f"], several=True)
    assert unenforced == {"`format`", "`minProperties`"}
    strict = {"type": "function", "function": {**said["function"], "strict": True}}
    with pytest.raises(LineInvalid, match=r"it has `format`, `minProperties`, which cannot be enforced; leave it out"):
        forced_xml_calls([strict], ["f"], several=True)


def test_types_of_parameters_are_found_behind_references(parser: ToolCallParser) -> None:
    text = "<tool_call>\n<function=all>\n" + "".join(
        f"<parameter={name}>\n{value}\n</parameter>\n"
        for name, value in {"address": '{"zip": "53"}', "old": "4", "level": "30", "colour": "red"}.items()
    )
    text += "</function>\n</tool_call>"
    expected = '{"address": {"zip": "53"}, "old": 4, "level": 30, "colour": "red"}'
    assert parser.parse(parser.tokenizer.encode(text), text, TOOLS).calls == (ParsedCall("all", expected),)
