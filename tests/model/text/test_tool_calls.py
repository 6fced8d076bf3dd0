"""Tool calls are found by their tags' ids, kept as the model wrote them, and never lost or repaired."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from model.text.tokenizer import Tokenizer
from model.text.tool_calls import ParsedAnswer, ParsedCall, ToolCallParser

DEMO = Path(__file__).resolve().parents[3] / "model" / "demo"
WEATHER = ParsedCall("weather", '{"city": "Zürich",  "days":[1, 2]}')
TIME = ParsedCall("time", "{}")
MALFORMED = [
    "{broken",
    '{"name": "f"}',
    '{"arguments": {}}',
    '{"name": "", "arguments": {}}',
    '{"name": 5, "arguments": {}}',
    '{"name": "f", "arguments": "text"}',
    '{"name": "f", "arguments": [1]}',
    '{"name": "f", "arguments": {}, "more": 1}',
    '{"name": "f", "arguments": {}} and more',
    # Deeper than any Python's decoder goes: 3.13 takes more than 9,000 levels.
    '{"name": "f", "arguments": ' + '{"a":' * 30_000 + "1" + "}" * 30_000 + "}",
    "",
]
XML_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "f",
            "parameters": {
                "properties": {
                    "text": {"type": "string"},
                    "count": {"type": "integer"},
                    "share": {"type": "number"},
                    "yes": {"type": "boolean"},
                    "list": {"type": "array"},
                    "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                    "either": {"type": ["string", "null"]},
                    "unsaid": {},
                }
            },
        },
    }
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(DEMO)


@pytest.fixture(scope="module")
def hermes(tokenizer: Tokenizer) -> ToolCallParser:
    parser = ToolCallParser.of(tokenizer, "hermes")
    assert parser is not None
    return parser


def written(call: ParsedCall) -> str:
    """A call as Qwen3's template writes it."""
    return f'<tool_call>\n{{"name": "{call.name}", "arguments": {call.arguments}}}\n</tool_call>'


def parsed(parser: ToolCallParser, text: str, tools: list[dict[str, Any]] | None = None) -> ParsedAnswer:
    return parser.parse(parser.tokenizer.encode(text), text, tools or [])


@pytest.mark.parametrize("content", ["", "Let me look.", "Two\nlines.\n"])
@pytest.mark.parametrize("calls", [(WEATHER,), (WEATHER, TIME), (TIME, WEATHER, TIME)])
def test_an_answer_that_is_put_back_into_messages_gives_its_own_ids(
    tokenizer: Tokenizer, hermes: ToolCallParser, content: str, calls: tuple[ParsedCall, ...]
) -> None:
    text = "\n".join([*([content] if content else []), *map(written, calls)])
    ids = tokenizer.encode(text)
    answer = hermes.parse(ids, text, [])
    assert answer == ParsedAnswer(content, calls, 0)
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
    functions = [{"function": {"name": call.name, "arguments": call.arguments}} for call in answer.calls]
    history = [*messages, {"role": "assistant", "content": answer.content, "tool_calls": functions}]
    history += [{"role": "user", "content": "And?"}]  # the template writes no empty thought into an earlier turn
    prompt = tokenizer.encode_messages(messages)
    whole = tokenizer.encode_messages(history)
    assert whole[: len(prompt) + len(ids)] == [*prompt, *ids]


def test_arguments_are_the_models_own_text(hermes: ToolCallParser) -> None:
    arguments = '{ "b":1.0,"a" : "\\u00fc\\n", "a": null}'
    (call,) = parsed(hermes, f'<tool_call>{{"arguments": {arguments}, "name": "f"}}</tool_call>').calls
    assert call == ParsedCall("f", arguments)


@pytest.mark.parametrize("body", MALFORMED)
def test_a_malformed_call_stays_in_the_content_beside_whole_ones(hermes: ToolCallParser, body: str) -> None:
    bad = f"<tool_call>\n{body}\n</tool_call>"
    answer = parsed(hermes, f"{written(TIME)}\n{bad}\n{written(WEATHER)}")
    assert answer == ParsedAnswer(f"\n{bad}", (TIME, WEATHER), 1)
    assert parsed(hermes, bad) == ParsedAnswer(bad, (), 1)


def test_any_sequence_of_calls_and_texts_loses_no_character(hermes: ToolCallParser) -> None:
    chance = random.Random(3)
    for _ in range(60):
        pieces, calls = [], []
        for _ in range(chance.randint(0, 6)):
            kind = chance.choice(["call", "malformed", "open", "text"])
            if kind == "call":
                calls.append(chance.choice([WEATHER, TIME]))
                pieces.append(("", written(calls[-1])))
            else:
                body = chance.choice([each for each in MALFORMED if len(each) < 100])
                texts = {"malformed": f"<tool_call>{body}</tool_call>", "open": f"<tool_call>{body}", "text": " é\n{ x"}
                pieces.append((texts[kind], texts[kind]))
        answer = parsed(hermes, "\n".join(text for _, text in pieces))
        assert answer.calls == tuple(calls)
        assert "".join(answer.content.split()) == "".join("".join(kept for kept, _ in pieces).split())


def test_a_call_that_is_cut_off_stays_in_the_content(hermes: ToolCallParser) -> None:
    cut = written(WEATHER)[:-20]
    assert parsed(hermes, f"{written(TIME)}\n{cut}") == ParsedAnswer(f"\n{cut}", (TIME,), 1)
    twice = f"<tool_call>{written(TIME)}"
    assert parsed(hermes, twice) == ParsedAnswer("<tool_call>", (TIME,), 1)


def test_a_tag_without_its_id_is_text(tokenizer: Tokenizer, hermes: ToolCallParser) -> None:
    ids = [token for part in ("<tool", "_call>\n{}\n</tool", "_call>") for token in tokenizer.encode(part)]
    text = "<tool_call>\n{}\n</tool_call>"
    assert tokenizer.decode(ids) == text
    assert hermes.parse(ids, text, []) == ParsedAnswer(text, (), 0)
    assert parsed(hermes, "no calls </tool_call> here") == ParsedAnswer("no calls </tool_call> here", (), 0)


def test_a_text_that_a_stop_string_has_cut_ends_its_calls(tokenizer: Tokenizer, hermes: ToolCallParser) -> None:
    text = f"So:\n{written(TIME)}\n{written(WEATHER)}"
    ids = tokenizer.encode(text)
    cut = text[: text.index("Zürich")]
    answer = hermes.parse(ids, cut, [])
    assert (answer.calls, answer.num_malformed) == ((TIME,), 1)
    assert answer.content.startswith("So:\n<tool_call>") and answer.content.endswith('"city": "')
    assert hermes.parse(ids, "So:", []) == ParsedAnswer("So:", (), 0)


def test_newlines_that_the_text_lacks_at_its_beginning_move_no_call(
    tokenizer: Tokenizer, hermes: ToolCallParser
) -> None:
    text = f"Ü!\n{written(WEATHER)}"
    assert hermes.parse(tokenizer.encode(f"\n\n{text}"), text, []) == ParsedAnswer("Ü!", (WEATHER,), 0)


def test_a_model_without_the_tags_or_the_template_cannot_call_tools(tokenizer: Tokenizer) -> None:
    assert ToolCallParser.of(tokenizer, None) is None


def xml(tokenizer: Tokenizer, **values: str) -> ParsedAnswer:
    parameters = "".join(f"<parameter={name}>\n{value}\n</parameter>\n" for name, value in values.items())
    text = f"<tool_call>\n<function=f>\n{parameters}</function>\n</tool_call>"
    parser = ToolCallParser.of(tokenizer, "xml")
    assert parser is not None
    return parsed(parser, text, XML_TOOLS)


def test_values_of_xml_calls_have_the_types_of_the_tools_schema(tokenizer: Tokenizer) -> None:
    said = {"text": "1", "count": "1", "share": "0.5", "yes": "true", "list": "[1]", "maybe": "null", "unsaid": "1"}
    (call,) = xml(tokenizer, **said).calls
    expected = {"text": "1", "count": 1, "share": 0.5, "yes": True, "list": [1], "maybe": None, "unsaid": "1"}
    assert json.loads(call.arguments) == expected
    (call,) = xml(tokenizer, text="null", either="null", other=" two\nlines ").calls
    assert json.loads(call.arguments) == {"text": "null", "either": None, "other": " two\nlines "}
    assert xml(tokenizer).calls == (ParsedCall("f", "{}"),)


@pytest.mark.parametrize(
    "wrong", [{"count": "one"}, {"count": "true"}, {"yes": "1"}, {"list": "{}"}, {"count": "null"}]
)
def test_a_value_of_another_type_makes_an_xml_call_malformed(tokenizer: Tokenizer, wrong: dict[str, str]) -> None:
    answer = xml(tokenizer, **wrong)
    assert (answer.calls, answer.num_malformed) == ((), 1)
    assert next(iter(wrong.values())) in answer.content
