"""Tools of a line: read, refused where the model ignores them, and shown in results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from jobs.files.formats.features.tools import check_tools
from jobs.files.formats.json_line import LineInvalid
from jobs.files.formats.line_decoder import LineDecoder, LineRules
from jobs.files.results.native_lines import native_line
from jobs.files.results.openai_lines import openai_line
from jobs.records.completion import Choice, Completion, ToolCall, Usage
from jobs.records.model_card import ModelCard, builtin_demo_folder, card_of_folder
from jobs.records.prompt import Endpoint
from jobs.records.sampling import FinishReason
from jobs.stores.packing import pack_prompts, unpack_prompts
from tests.formats.conftest import Decode
from tests.formats.lines.test_openai_lines import chat, line, raw
from tests.formats.results.test_result_lines import job, parsed

Why = Callable[..., str]
CARD = ModelCard("demo", 1000, 2048, True, tools="hermes")
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
TIME = {"type": "function", "function": {"name": "time"}}
FLAT = {"type": "function", "name": "weather", "parameters": PARAMETERS}
UNUSABLE = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "integer", "minimum": 5, "maximum": 1}},
}
CALL = ToolCall("weather", '{"city": "Bonn"}')


def native(**more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hi"}], **more}


def responses(**more: Any) -> dict[str, Any]:
    return line("/v1/responses", {"model": "demo", "input": "Hi", **more})


@pytest.mark.parametrize("made", [chat, native])
def test_tools_reach_the_chat_template_as_they_are(decode: Decode, made: Any) -> None:
    prompt = decode(made(tools=[WEATHER]), card=CARD)
    assert (prompt.tools, prompt.tool_choice) == ((WEATHER,), "auto")
    assert prompt.template_arguments == {"tools": (WEATHER,)}
    assert decode(made(tools=[WEATHER], tool_choice="none"), card=CARD).tool_choice == "none"
    assert unpack_prompts(pack_prompts([prompt]).value, "key") == [prompt]


def test_flat_tools_of_a_response_become_those_of_a_chat(decode: Decode) -> None:
    assert decode(responses(tools=[FLAT]), card=CARD).tools == (WEATHER,)


def test_no_tools_are_no_tools(decode: Decode) -> None:
    nothings: list[dict[str, Any]] = [{"tools": []}, {"tools": None}, {"tool_choice": "auto"}]
    for nothing in (*nothings, {"tools": [], "tool_choice": "none"}):
        assert decode(chat(**nothing), card=CARD) == decode(chat(), card=CARD)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"tools": {}}, "`tools` is an empty object; it must be a list of functions"),
        ({"tools": [5]}, "`tools[0]` is 5; it must be an object"),
        ({"tools": [{"type": "web_search"}]}, '`tools[0].type` is "web_search"; only "function" is supported'),
        ({"tools": [{"type": "custom", "custom": {}}]}, '`tools[0].type` is "custom"'),
        ({"tools": [{"type": "function"}]}, "`tools[0].function` is null"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "`tools[0].function.name` is"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": "{}"}}]}, "it must be a JSON schema"),
        ({"tools": [WEATHER, WEATHER]}, '`tools` has 2 functions with the name "weather"; names must be unique'),
        ({"tools": [WEATHER] * 129}, "`tools` has 129 functions; at most 128 are allowed"),
        ({"tools": [WEATHER], "tool_choice": "always"}, '`tool_choice` is "always"; it must be "auto", "none"'),
        ({"tools": [WEATHER], "parallel_tool_calls": "no"}, '`parallel_tool_calls` is "no"; it must be true or false'),
        (
            {"tools": [WEATHER], "tool_choice": "required", "response_format": {"type": "json_object"}},
            "`tool_choice` forces a call, so the line cannot have a schema",
        ),
        ({"tools": [WEATHER], "tool_choice": "required", "min_tokens": 5}, "`min_tokens` is 5; it cannot be used with"),
        (
            {"tools": [UNUSABLE], "tool_choice": "required"},
            "a schema of `tools` cannot be used: Unsatisfiable schema",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "time"}}},
            '`tool_choice` names the function "time", which `tools` does not have',
        ),
        ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools"}}, "`tool_choice` is an object"),
        ({"tool_choice": "required"}, '`tool_choice` is "required", but the line has no `tools`'),
        ({"functions": [{"name": "f"}]}, "`functions` is a list of 1; it is not supported"),
        ({"function_call": {"name": "f"}}, "`function_call` is an object; it is not supported"),
    ],
)
def test_what_is_wrong_with_tools_is_refused_by_name(why: Why, said: dict[str, Any], reason: str) -> None:
    assert reason in why(chat(**said), card=CARD)
    assert reason in why(native(**said), card=CARD)


def test_tools_beside_a_raw_prompt_are_refused(why: Why) -> None:
    assert "`tools` is a list of 1; it is not supported" in why(raw(tools=[WEATHER]), card=CARD)
    assert "apply only to `messages`" in why({"prompt": "Hi", "tools": [WEATHER]}, card=CARD)


def test_tools_that_the_chat_template_ignores_are_refused(why: Why) -> None:
    card = msgspec.structs.replace(CARD, tools=None)
    assert "demo's chat template does not know them" in why(chat(tools=[WEATHER]), card=card)


def test_the_demos_template_knows_tools() -> None:
    assert card_of_folder(builtin_demo_folder(), "demo").tools == "hermes"


STRICT: dict[str, Any] = {"type": "function", "function": {**WEATHER["function"], "strict": True}}  # type: ignore[dict-item]


XML_CARD = msgspec.structs.replace(CARD, tools="xml")


@pytest.mark.parametrize("card", [CARD, XML_CARD])
@pytest.mark.parametrize("said", [{"response_format": {"type": "json_object"}}, {"tool_choice": "none"}])
def test_a_strict_tool_without_effect_gets_a_notice(said: dict[str, Any], card: ModelCard) -> None:
    decoder = LineDecoder(LineRules(card=card))
    assert decoder.decode(msgspec.json.encode(chat(tools=[STRICT], **said)), 0, 1).invalid is None
    assert decoder.notes.ignored == {"tools[].function.strict": 1}


@pytest.mark.parametrize("card", [CARD, XML_CARD, None])
@pytest.mark.parametrize("said", [{}, {"tool_choice": "required"}, {"response_format": {"type": "text"}}])
def test_a_strict_tool_that_may_be_called_needs_no_notice(said: dict[str, Any], card: ModelCard | None) -> None:
    decoder = LineDecoder(LineRules(card=card))
    assert decoder.decode(msgspec.json.encode(chat(tools=[STRICT], **said)), 0, 1).invalid is None
    assert not decoder.notes.ignored and not decoder.notes.unenforced


@pytest.mark.parametrize("card", [CARD, XML_CARD])
def test_a_strict_tool_is_refused_if_its_schema_cannot_be_enforced(why: Why, card: ModelCard) -> None:
    function = STRICT["function"]
    wrong = {**STRICT, "function": {**function, "parameters": {"type": "object", "not": {"required": ["a"]}}}}
    assert "a schema of `tools` cannot be used: it has `not`, which cannot be enforced" in why(
        chat(tools=[wrong]), card=card
    )
    assert "`min_tokens` is 3; it cannot be used with a schema" in why(chat(tools=[STRICT], min_tokens=3), card=card)


def test_calls_and_their_outputs_in_the_input_of_a_response_become_messages(decode: Decode) -> None:
    items = [
        {"role": "user", "content": "Hi"},
        {"type": "function_call", "call_id": "c-1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c-1", "output": "Rain"},
    ]
    prompt = decode(responses(input=items, tools=[FLAT]), card=CARD)
    assert prompt.messages is not None
    _, call, output = prompt.messages
    assert call["tool_calls"] == [{"id": "c-1", "function": {"name": "weather", "arguments": "{}"}}]
    assert output == {"role": "tool", "tool_call_id": "c-1", "content": "Rain"}


def called(endpoint: Endpoint, text: str = "") -> Completion:
    more = (Choice("No.", FinishReason.STOP), Choice("", FinishReason.TOOL_CALLS, tool_calls=(CALL,)))
    return Completion(
        3,
        "a",
        text,
        FinishReason.TOOL_CALLS,
        Usage(5, 9),
        endpoint=endpoint,
        tool_calls=(CALL, CALL),
        more_choices=() if endpoint == "responses" else more,
    )


def test_a_chat_completion_has_its_calls_in_the_message_with_ids_that_stay() -> None:
    result = parsed(openai_line(called("chat"), job("openai")))
    assert result == parsed(openai_line(called("chat"), job("openai")))
    found = ChatCompletion.model_validate(result["response"]["body"], strict=True)
    first, second, third = found.choices
    assert (first.finish_reason, first.message.content) == ("tool_calls", None)
    calls = [*(first.message.tool_calls or ()), *(third.message.tool_calls or ())]
    assert {(call.type, call.function.name, call.function.arguments) for call in calls if call.type == "function"} == {
        ("function", CALL.name, CALL.arguments)
    }
    assert len({call.id for call in calls}) == 3
    assert all(call.id.startswith("call_") and len(call.id) == 5 + 24 for call in calls)
    assert (second.message.content, second.message.tool_calls) == ("No.", None)
    with_text = parsed(openai_line(called("chat", "Let me look."), job("openai")))
    assert with_text["response"]["body"]["choices"][0]["message"]["content"] == "Let me look."


def test_a_response_has_its_calls_as_items() -> None:
    found = Response.model_validate(
        parsed(openai_line(called("responses"), job("openai")))["response"]["body"], strict=True
    )
    assert [item.type for item in found.output] == ["function_call", "function_call"]
    text = parsed(openai_line(called("responses", "So:"), job("openai")))["response"]["body"]
    assert [item["type"] for item in text["output"]] == ["message", "function_call", "function_call"]


def test_a_native_result_has_its_calls_in_the_shape_of_a_message(decode: Decode) -> None:
    result = parsed(native_line(called("native")))
    assert (result["completion"], result["finish_reason"]) == ("", "tool_calls")
    assert (
        result["tool_calls"] == [{"type": "function", "function": {"name": CALL.name, "arguments": CALL.arguments}}] * 2
    )
    assert "tool_calls" not in result["choices"][1]
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": result["tool_calls"]}]
    assert decode({"messages": history}).invalid is None


def test_a_forced_call_becomes_a_constraint(decode: Decode, why: Why) -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    flat = {"type": "function", "name": "weather"}
    prompts = [
        decode(chat(tools=[WEATHER, TIME], tool_choice="required"), card=CARD),
        decode(chat(tools=[WEATHER, TIME], tool_choice=named), card=CARD),
        decode(responses(tools=[FLAT], tool_choice=flat), card=CARD),
        decode(native(tools=[WEATHER, TIME], tool_choice="required", parallel_tool_calls=False), card=CARD),
    ]
    assert [prompt.invalid for prompt in prompts] == [None] * 4
    assert all(prompt.forces_calls and prompt.constraint is not None for prompt in prompts)
    grammars = [prompt.constraint.text for prompt in prompts if prompt.constraint is not None]
    assert [("time" in text, "call*" in text or ")*" in text) for text in grammars] == [
        (True, True),
        (False, True),
        (False, True),
        (True, False),
    ]


XML_CARD = msgspec.structs.replace(CARD, tools="xml")


def test_a_forced_call_is_written_as_the_model_writes_calls(decode: Decode) -> None:
    for made in (chat, native):
        prompt = decode(made(tools=[WEATHER, TIME], tool_choice="required"), card=XML_CARD)
        assert prompt.invalid is None and prompt.forces_calls and prompt.constraint is not None
        assert "<function=weather>" in prompt.constraint.text and "<function=time>" in prompt.constraint.text
        assert unpack_prompts(pack_prompts([prompt]).value, "key") == [prompt]


def test_a_forced_call_for_an_unknown_model_is_refused_by_a_model_that_writes_xml(decode: Decode) -> None:
    forced = {"tools": [WEATHER], "tool_choice": "required"}
    unknown, xml = decode(chat(**forced), card=None), decode(chat(**forced), card=XML_CARD)
    check_tools(unknown, CARD)
    check_tools(xml, XML_CARD)
    for prompt, card in ((unknown, XML_CARD), (xml, CARD)):
        with pytest.raises(LineInvalid, match=r"in another format than demo writes.*submit it again"):
            check_tools(prompt, card)


def test_a_keyword_that_xml_cannot_enforce_gets_a_notice_or_refuses_a_strict_tool(why: Why) -> None:
    properties = {"day": {"type": "string", "format": "date"}}
    function: dict[str, Any] = {"name": "f", "parameters": {"type": "object", "properties": properties}}
    decoder = LineDecoder(LineRules(card=XML_CARD))
    said: dict[str, Any] = {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}
    assert decoder.decode(msgspec.json.encode(chat(**said)), 0, 1).invalid is None
    assert decoder.notes.unenforced == {"`format`": 1}
    function["strict"] = True
    assert "a schema of `tools` cannot be used: it has `format`" in why(chat(**said), card=XML_CARD)


def test_the_choice_among_calls_has_no_effect_unless_a_call_is_forced() -> None:
    decoder = LineDecoder()
    said = [chat(parallel_tool_calls=False), chat(tools=[WEATHER], parallel_tool_calls=True)]
    forced = chat(tools=[WEATHER], tool_choice="required", parallel_tool_calls=True)
    for number, each in enumerate([*said, forced]):
        assert (
            decoder.decode(msgspec.json.encode(each | {"custom_id": str(number)}), number, number + 1).invalid is None
        )
    assert decoder.notes.ignored == {"parallel_tool_calls": 2}
