"""Chat messages of both formats."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.files.formats.json_line import LineInvalid
from jobs.files.formats.messages import MAX_MESSAGES, read_messages

CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": [2.5, None]}}}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_a_conversation_with_tools_and_reasoning_comes_through_whole() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        user("What is 1 + 2?"),
        {"role": "assistant", "content": "", "reasoning_content": "I should add.", "tool_calls": [CALL]},
        {"role": "tool", "content": "3", "tool_call_id": "c1", "name": "add"},
        {"role": "assistant", "content": "3"},
    ]
    assert read_messages(messages) == tuple(messages)


def test_text_parts_become_one_string() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert read_messages([user(parts)]) == (user("one\ntwo"),)


def test_a_developer_speaks_as_the_system() -> None:
    assert read_messages([{"role": "developer", "content": "x"}]) == ({"role": "system", "content": "x"},)


def test_an_assistant_that_only_calls_tools_needs_no_content() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert read_messages([message]) == ({"role": "assistant", "content": "", "tool_calls": [CALL]},)


def test_a_message_that_the_api_returned_may_be_sent_back() -> None:
    empty: dict[str, object] = {
        "refusal": None,
        "audio": None,
        "function_call": None,
        "tool_calls": None,
        "annotations": [],
    }
    returned = {"role": "assistant", "content": "Hello", **empty}
    assert read_messages([returned]) == ({"role": "assistant", "content": "Hello"},)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "`messages` is an empty list; it must be a list of at least one message"),
        ("hello", '`messages` is "hello"; it must be a list'),
        ({"role": "user"}, "`messages` is an object; it must be a list"),
        (["hello"], '`messages[0]` is "hello"; it must be an object'),
        ([user("x"), {"content": "x"}], "`messages[1].role` is null; it must be one of system, user, assistant, tool"),
        ([{"role": "User", "content": "x"}], '`messages[0].role` is "User"; it must be one of'),
        ([{"role": "function", "content": "x", "name": "f"}], '`messages[0].role` is "function"'),
        ([{"role": ["user"], "content": "x"}], "`messages[0].role` is a list of 1"),
        ([{"role": "user"}], "`messages[0].content` is missing"),
        ([user(None)], "`messages[0].content` is missing"),
        ([{"role": "assistant", "content": None}], "`messages[0].content` is missing"),
        ([user(5)], "`messages[0].content` is 5; it must be a string or a list of text parts"),
        ([user([])], "`messages[0].content` is an empty list"),
        ([user(["x"])], '`messages[0].content[0]` is "x"; it must be {"type": "text"'),
        ([user([{"type": "image_url", "image_url": {}}])], '"image_url"; only text parts are supported'),
        ([user([{"type": "text"}])], "`messages[0].content[0].text` is null; it must be a string"),
        ([user([{"type": "text", "text": "x", "txt": 1}])], "did you mean `text`?"),
        ([{"role": "user", "contnt": "x"}], '"contnt" is not a known key in `messages[0]`; did you mean `content`?'),
        ([{**user("x"), "refusal": "no"}], '`messages[0].refusal` is "no"; it is not supported'),
        ([{**user("x"), "name": 5}], "`messages[0].name` is 5; it must be a string"),
        ([{**user("x"), "tool_calls": "x"}], '`messages[0].tool_calls` is "x"; it must be a list of tool calls'),
        ([{**user("x"), "tool_calls": [{}]}], "`messages[0].tool_calls[0]` has no `function` object"),
        ([{**user("x"), "tool_calls": [{**CALL, "type": "custom"}]}], 'type` is "custom"; it must be "function"'),
        ([{**user("x"), "tool_calls": [{**CALL, "typ": 1}]}], "did you mean `type`?"),
        ([{**user("x"), "tool_calls": [{"function": {"name": 1}}]}], "function.name` is 1; it must be a string"),
        ([{**user("x"), "tool_calls": [{"function": {"name": "f", "arguments": 1}}]}], "a string or an object"),
        ([{**user("x"), "tool_calls": [{"function": {"name": "f", "args": {}}}]}], "`arguments`"),
        (
            [{**user("x"), "tool_calls": [{"function": {"name": "f", "arguments": {"a": [2**64]}}}]}],
            "`messages[0].tool_calls[0].function.arguments` holds an integer of more than 64 bits",
        ),
    ],
)
def test_a_bad_message_is_told_where_and_what_is_wrong(messages: Any, reason: str) -> None:
    with pytest.raises(LineInvalid) as error:
        read_messages(messages)
    assert reason in str(error.value)


def test_more_messages_than_any_context_holds_are_refused() -> None:
    message = {"role": "user", "content": ""}
    assert len(read_messages([message] * MAX_MESSAGES)) == MAX_MESSAGES
    with pytest.raises(LineInvalid, match="10,001 messages; at most 10,000"):
        read_messages([message] * (MAX_MESSAGES + 1))


def test_what_a_tool_was_given_may_not_be_nested_without_end() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(LineInvalid, match="nested more than 64 deep"):
        read_messages([{**user("x"), "tool_calls": [{"function": {"name": "f", "arguments": deep}}]}])
