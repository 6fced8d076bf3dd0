"""The demo's own chat template writes what Qwen3's template writes, and what training saw."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tools.demo_model.data.chat_format import chat_prompt
from tools.demo_model.data.samples import tool_sample
from tools.demo_model.data.splits import Split
from tools.demo_model.tasks.tool_use import ToolConversation, draw_tool_conversation

_TEMPLATE = Path(__file__).resolve().parents[3] / "tools" / "demo_model" / "chat_template.jinja"
_CONTENTS = (
    "Hi",
    "",
    "\n two\nlines \n",
    "<tool_response>\n12\n</tool_response>",
    "<tool_response> not closed",
    "<think>\nhm\n</think>\n\nSo.",
    "no opening</think>\nSo.",
    "<think>a</think>b</think>c",
    'quotes " and <b> & é',
)
_TOOLS = (
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"c": {}}}}},
    {"type": "function", "function": {"name": "time", "description": "says <when>"}},
)
_CALLS: tuple[dict[str, Any], ...] = (
    {"type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich"}}},
    {"type": "function", "function": {"name": "time", "arguments": '{"zone": "UTC"}'}},
    {"name": "bare", "arguments": {}},
)


def _compile(source: str, trims_blocks: bool) -> jinja2.Template:
    # transformers trims blocks; a template that writes all its own whitespace must not care.
    environment = ImmutableSandboxedEnvironment(trim_blocks=trims_blocks, lstrip_blocks=trims_blocks)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(source)


def _message(rng: Random) -> dict[str, Any]:
    role = rng.choice(("user", "user", "assistant", "assistant", "tool", "system"))
    message: dict[str, Any] = {"role": role, "content": rng.choice(_CONTENTS)}
    if role == "assistant" and rng.random() < 0.3:
        message["reasoning_content"] = rng.choice((None, "", "\nthought\n", "two\nlines"))
    if role == "assistant" and rng.random() < 0.3:
        message["tool_calls"] = rng.sample(_CALLS, rng.randint(0, 3))
    return message


def _conversation(rng: Random) -> dict[str, Any]:
    arguments: dict[str, Any] = {"messages": [_message(rng) for _ in range(rng.randint(1, 7))]}
    if rng.random() < 0.4:
        arguments["tools"] = rng.sample(_TOOLS, rng.randint(0, 2))
    if rng.random() < 0.7:
        arguments["add_generation_prompt"] = rng.random() < 0.8
    if rng.random() < 0.5:
        arguments["enable_thinking"] = rng.random() < 0.5
    return arguments


@pytest.mark.parametrize("trims_blocks", [True, False])
def test_the_template_renders_as_qwen3s_own_does(qwen3_tokenizer_folder: Path, trims_blocks: bool) -> None:
    config = json.loads((qwen3_tokenizer_folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    theirs = _compile(config["chat_template"], trims_blocks=True)
    ours = _compile(_TEMPLATE.read_text(encoding="utf-8"), trims_blocks)
    rng = Random(11)
    for _ in range(600):
        arguments = _conversation(rng)
        assert ours.render(arguments) == theirs.render(arguments), arguments


def test_the_checkpoint_carries_the_template(demo_folder: Path) -> None:
    config = json.loads((demo_folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["chat_template"] == _TEMPLATE.read_text(encoding="utf-8")


@pytest.mark.parametrize("thinks", [True, False])
def test_training_saw_what_the_template_renders(thinks: bool) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 3 + 4?"},
        {"role": "assistant", "content": "7"},
        {"role": "user", "content": "Spell cat letter by letter."},
    ]
    template = _compile(_TEMPLATE.read_text(encoding="utf-8"), trims_blocks=True)
    rendered = template.render(messages=messages, add_generation_prompt=True, enable_thinking=thinks)
    assert chat_prompt(messages, empty_thinking=not thinks) == rendered


def _as_api_messages(conversation: ToolConversation) -> list[dict[str, Any]]:
    """The conversation as a client sends it after the last call: calls and results in fields of their own."""
    messages: list[dict[str, Any]] = []
    if conversation.system is not None:
        messages.append({"role": "system", "content": conversation.system})
    for turn in conversation.turns:
        messages.append({"role": "user", "content": turn.question.text})
        if turn.result is None:
            messages.append({"role": "assistant", "content": turn.question.answer})
            continue
        call = json.loads(turn.question.answer.removeprefix("<tool_call>").removesuffix("</tool_call>"))
        messages.append({"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call}]})
        messages.append({"role": "tool", "content": turn.result})
        messages.append({"role": "assistant", "content": turn.result})
    return messages[:-1]


@pytest.mark.parametrize("empty_thinking", [False, True])
def test_training_saw_tools_and_their_results_as_the_template_renders_them(empty_thinking: bool) -> None:
    template = _compile(_TEMPLATE.read_text(encoding="utf-8"), trims_blocks=True)
    rng = Random(2)
    for _ in range(50):
        conversation = draw_tool_conversation(rng.randint(1, 3), Split.TRAIN, rng)
        sample = tool_sample(conversation, ends_with_call=False, empty_thinking=empty_thinking)
        rendered = template.render(
            messages=_as_api_messages(conversation),
            tools=conversation.tools,
            add_generation_prompt=True,
            enable_thinking=not empty_thinking,
        )
        assert "".join(segment.text for segment in sample[:-1]) == rendered
