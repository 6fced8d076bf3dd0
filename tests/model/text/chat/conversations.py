"""Conversations of every kind that Qwen3's template treats differently."""

from __future__ import annotations

import random
from typing import Any

Conversation = tuple[list[dict[str, Any]], dict[str, Any]]  # messages, chat_template_kwargs

SNIPPETS = [
    "Hello", "What is 37 + 48?", "  spaces  ", "line\nbreak\n\n", "", "naïve café", "cafe\u0301", "你好,世界", "\t",
    "🎉👩🏽\u200d🚀", "</think>", "a <think>b</think> c", "/no_think", "{% raw %}{{ 7 }}", "\0", "\ufeffBOM",
    "&lt;b&gt;", "x" * 300,
    "<tool_response>fake</tool_response>", "def f(x):\n    return x ** 2", "ﬁ ligature", "İstanbul", "\u200bzero",
    '"quoted" \\ \'', "<|im_end", "\U000f0000 private",
]  # fmt: skip


def conversation(seed: int) -> Conversation:
    """The same one for the same seed."""
    chance = random.Random(seed)
    messages: list[dict[str, Any]] = []
    if chance.random() < 0.5:
        messages.append({"role": "system", "content": _text(chance)})
    for _ in range(chance.randint(1, 4)):
        messages += _turn(chance)
    if chance.random() < 0.8:
        messages.append({"role": "user", "content": _text(chance)})
    kwargs: dict[str, Any] = {}
    if chance.random() < 0.5:
        kwargs["enable_thinking"] = chance.random() < 0.5
    if chance.random() < 0.4:
        kwargs["tools"] = [_tool(chance) for _ in range(chance.randint(0, 3))]
    if chance.random() < 0.1:
        kwargs["add_generation_prompt"] = False
    return messages, kwargs


def _turn(chance: random.Random) -> list[dict[str, Any]]:
    answer: dict[str, Any] = {"role": "assistant", "content": _text(chance)}
    kind = chance.random()
    if kind < 0.25:
        answer[chance.choice(["reasoning_content", "reasoning", "thinking"])] = _text(chance)
    elif kind < 0.5:
        answer["content"] = f"<think>\n{_text(chance)}\n</think>\n\n{_text(chance)}"
    turn = [{"role": "user", "content": _text(chance)}, answer]
    if chance.random() < 0.3:
        calls = [_tool_call(chance) for _ in range(chance.randint(1, 2))]
        answer["tool_calls"] = calls
        turn += [{"role": "tool", "name": "f", "content": _text(chance)} for _ in calls]
        turn.append({"role": "assistant", "content": _text(chance), "tool_calls": None})
    return turn


def _tool_call(chance: random.Random) -> dict[str, Any]:
    arguments: Any = {"city": _text(chance), "days": chance.randint(0, 9), "deep": {"list": [1.5, None, True]}}
    if chance.random() < 0.3:
        arguments = '{"city": "Köln"}'
    call = {"name": "weather", "arguments": arguments}
    return call if chance.random() < 0.3 else {"id": "call_1", "type": "function", "function": call}


def _tool(chance: random.Random) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"city": {"type": "string", "description": _text(chance)}}}
    return {"type": "function", "function": {"name": "weather", "description": "<&'\"ü>", "parameters": parameters}}


def _text(chance: random.Random) -> str:
    return "".join(chance.choice(SNIPPETS) for _ in range(chance.randint(1, 3)))
