"""Conversations under the names that data sets give them, and a system message for lines of every format."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from jobs.files.formats.features.system_message import put_system_message
from jobs.files.formats.line_decoder import LineDecoder, LineRules
from jobs.records.prompt import Prompt

Decode = Callable[..., Prompt]
Why = Callable[..., str]

ASK = {"role": "user", "content": "Why?"}
BRIEF = {"role": "system", "content": "Be brief."}
RHYME = {"role": "system", "content": "Rhyme."}
PARTS = {"contents": [{"role": "user", "parts": [{"text": "Why?"}]}]}
# Each line asks the same. The system message goes to another place in each.
FORMATS: dict[str, dict[str, Any]] = {
    "native": {"messages": [ASK]},
    "prompt with messages": {"prompt": [ASK]},
    "data set of chats": {"conversation": [ASK]},
    "messages in a cell of CSV": {"messages": json.dumps([ASK])},
    "OpenAI": {"custom_id": "a", "body": {"messages": [ASK]}},
    "responses with a text": {"custom_id": "a", "url": "/v1/responses", "body": {"input": "Why?"}},
    "responses with items": {"custom_id": "a", "url": "/v1/responses", "body": {"input": [ASK]}},
    "Anthropic": {"custom_id": "a", "params": {"messages": [ASK]}},
    "Bedrock": {"recordId": "a", "modelInput": {"messages": [ASK]}},
    "Gemini": {"key": "a", "request": PARTS},
    "Gemini in the envelope of OpenAI": {"custom_id": "a", "body": PARTS},
    "ShareGPT": {"conversations": [{"from": "human", "value": "Why?"}]},
}


def with_system(line: dict[str, Any], text: str) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(line))
    put_system_message(copy, text)
    return copy


@pytest.mark.parametrize("format", FORMATS)
def test_a_line_of_every_format_gets_one_system_message(decode: Decode, format: str) -> None:
    line = FORMATS[format]
    assert decode(line).messages == (ASK,)
    once = with_system(line, "Be brief.")
    assert decode(once).messages == (BRIEF, ASK)
    assert with_system(once, "Rhyme.") == once


@pytest.mark.parametrize(
    "line",
    [
        {"prompt": "Why?"},
        {"prompt": [1, 2]},
        {"messages": []},
        {"custom_id": "a", "body": {"prompt": "Why?"}},
        {"custom_id": "a", "url": "/v1/responses", "body": {"input": [RHYME, ASK]}},
        {"custom_id": "a", "params": {"messages": [ASK], "system": "Rhyme."}},
        {"key": "a", "request": PARTS | {"system_instruction": {"parts": [{"text": "Rhyme."}]}}},
        {"question": "Why?"},
    ],
)
def test_a_line_with_a_system_message_or_without_messages_stays_as_it_is(line: dict[str, Any]) -> None:
    assert with_system(line, "Be brief.") == line


def test_a_prompt_may_be_a_list_of_messages(decode: Decode, why: Why) -> None:
    prompt = decode({"prompt": [BRIEF, ASK], "temperature": 0.5})
    assert (prompt.text, prompt.messages, prompt.settings.temperature) == (None, (BRIEF, ASK), 0.5)
    assert '`prompt[0].role` is "bot"' in why({"prompt": [{"role": "bot", "content": "x"}]})


def test_other_facts_about_the_turns_of_a_chat_are_left_out(decode: Decode) -> None:
    turns = [ASK | {"language": "English", "toxic": False}, {"role": "assistant", "content": "So.", "toxic": True}]
    assert decode({"conversation": turns}).messages == (ASK, {"role": "assistant", "content": "So."})


def test_a_text_that_is_no_list_in_json_is_refused_with_what_it_must_be(why: Why) -> None:
    for text in (str([ASK]), '[{"role"', "[" * 10_000, "Why?"):
        assert "it must be a list of at least one message; if it is a text, it must be a list in JSON" in why(
            {"messages": text}
        )
    assert '`messages[0].role` is "bot"' in why({"messages": '[{"role": "bot", "content": ""}]'})


def test_beside_messages_a_prompt_can_be_kept_as_a_column(why: Why) -> None:
    line = {"prompt": "Why?", "messages": [ASK], "score": 3}
    assert "To run `messages`, add --keep prompt; to run `prompt`, add --template '{{ prompt }}'" in why(line)
    decoder = LineDecoder(LineRules(keep=("prompt",)))
    found = decoder.decode(json.dumps(line).encode(), 0, 1)
    assert (found.invalid, found.text, found.messages) == (None, None, (ASK,))
    assert json.loads(bytes(found.columns)) == {"prompt": "Why?"}
    only = decoder.decode(b'{"prompt": "How?"}', 1, 2)
    assert (only.invalid, only.text) == (None, "How?")
