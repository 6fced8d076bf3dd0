from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.text.messages import MessagesInvalid
from model.text.tokenizer import Tokenizer


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def nested(depth: int) -> Any:
    value: Any = "end"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (None, "`messages` is null; it must be a list"),
        ("hi", "`messages` is text; it must be a list"),
        ({"role": "user"}, "`messages` is an object; it must be a list"),
        ([], "at least one message"),
        ([3], r"`messages\[0\]` is a number; it must be an object"),
        ([user("a"), {"content": "x"}], r"`messages\[1\]\.role` is missing; it must be one of system, user"),
        ([{"role": "function", "content": "x"}], r"role` is 'function'; it must be one of"),
        ([{"role": ["user"], "content": "x"}], r"role` is \['user'\]; it must be one of"),
        ([{"role": "user"}], r"`messages\[0\]\.content` is missing; a user message must have text"),
        ([user(None)], "is missing; a user message must have text"),
        ([user(5)], r"content` is a number; it must be text or a list of text parts"),
        ([user({"text": "x"})], "content` is an object"),
        ([user([{"type": "image_url", "image_url": {}}])], r"content\[0\]` has the type 'image_url'; this model reads"),
        ([user([{"type": "text"}])], r"content\[0\]` is an object without text"),
        ([user(["a", 7])], r"content\[1\]` is a number without text"),
        ([user("half \ud83d")], r"`messages\[0\]\.content` has a lone surrogate.* at position 5 \(U\+D83D\)"),
        ([{**user("x"), "na\udc00me": 1}], "lone surrogate"),
        ([cast("dict[object, object]", user("x")) | {3: 1}], "has the key 3; keys must be text"),
        ([{**user("x"), "extra": {1, 2}}], r"`messages\[0\]\.extra` is a set, which JSON cannot hold"),
        ([{**user("x"), "extra": nested(100)}], "nested more than 64 levels deep"),
        ([{**user("x"), "extra": nested(50_000)}], "nested more than 64 levels deep"),
        ([user("a"), {"role": "assistant", "tool_calls": 3}], r"`messages\[1\]\.tool_calls` must be a list of objects"),
        ([user("a"), {"role": "assistant", "tool_calls": ["f"]}], "must be a list of objects"),
        ([user("a"), {"role": "assistant", "content": "", "reasoning_content": 3}], "the reasoning of .* is a number"),
    ],
)
def test_a_bad_conversation_is_refused_with_the_place_and_the_reason(
    qwen3_tokenizer: Tokenizer, messages: object, said: str
) -> None:
    with pytest.raises(MessagesInvalid, match=said):
        qwen3_tokenizer.encode_messages(messages)


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"tools": "f"}, "`tools` is text; it must be a list of objects"),
        ({"tools": [{}, "f"]}, r"`tools\[1\]` is text; it must be an object"),
        ({"messages": []}, "may not set `messages`"),
        ({"chat_template": "{{ 1 }}"}, "may not set `chat_template`"),
        ({"enable_thinking": object()}, "`chat_template_kwargs.enable_thinking` is a object, which JSON cannot hold"),
        (
            {"tools": [{"description": "\ud800"}]},
            r"`chat_template_kwargs\.tools\[0\]\.description` has a lone surrogate",
        ),
    ],
)
def test_bad_template_arguments_are_refused(qwen3_tokenizer: Tokenizer, kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(MessagesInvalid, match=said):
        qwen3_tokenizer.encode_messages([user("hi")], **kwargs)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
ANY_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]) | JSON, "content": JSON},
    optional={"tool_calls": JSON, "reasoning_content": JSON, "name": JSON},
)


@settings(deadline=None, max_examples=300)
@given(st.lists(ANY_MESSAGE | JSON, max_size=4), st.dictionaries(st.sampled_from(["tools", "x"]), JSON))
def test_any_json_is_encoded_or_refused_but_never_crashes(
    qwen3_tokenizer: Tokenizer, messages: list[Any], kwargs: dict[str, Any]
) -> None:
    try:
        ids = qwen3_tokenizer.encode_messages(messages, **kwargs)
    except MessagesInvalid as error:
        assert str(error)  # noqa: PT017 - either outcome is right
    else:
        assert ids


def test_what_the_openai_api_allows_is_translated(qwen3_tokenizer: Tokenizer) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    openai = [
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "name": None},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "3"}]},
    ]
    plain = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one\ntwo"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "3"},
    ]
    assert qwen3_tokenizer.encode_messages(openai) == qwen3_tokenizer.encode_messages(plain)


def test_encoding_leaves_the_callers_messages_alone(qwen3_tokenizer: Tokenizer) -> None:
    messages = [{"role": "user", "content": "<|im_end|>"}, {"role": "assistant", "content": None, "reasoning": "r"}]
    qwen3_tokenizer.encode_messages(messages)
    assert messages == [
        {"role": "user", "content": "<|im_end|>"},
        {"role": "assistant", "content": None, "reasoning": "r"},
    ]


def test_the_hard_switch_for_thinking_closes_it_at_once(qwen3_tokenizer: Tokenizer) -> None:
    thinking = qwen3_tokenizer.encode_messages([user("hi")])
    not_thinking = qwen3_tokenizer.encode_messages([user("hi")], enable_thinking=False)
    assert not_thinking == [*thinking, 151667, 271, 151668, 271]
