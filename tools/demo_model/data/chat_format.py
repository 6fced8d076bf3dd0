"""Qwen3's conversation format, as far as training writes it. `chat_template.jinja` has the complete format."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
EMPTY_THINKING = "<think>\n\n</think>\n\n"  # start of an answer without thinking

Message = Mapping[str, Any]  # role, content, and calls of tools
Tool = Mapping[str, Any]  # a function, as in the OpenAI API

_TOOLS_BEFORE = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>"""
_TOOLS_AFTER = """
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""


def thinking(thought: str) -> str:
    """Return the block of a thought, as it stands before the answer. No thought gives no block."""
    return f"<think>\n{thought}\n</think>\n\n" if thought else ""


def tool_call(name: str, arguments: Mapping[str, Any]) -> str:
    """Return the answer that calls a function."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def tool_result(result: str) -> Message:
    """Return the message that brings the result of a call, as the template writes a message of the role "tool"."""
    return {"role": "user", "content": f"<tool_response>\n{result}\n</tool_response>"}


def with_tools(system: str | None, tools: Sequence[Tool]) -> str:
    """Return the text of the system message that offers the tools."""
    signatures = "".join(f"\n{json.dumps(tool, ensure_ascii=False)}" for tool in tools)
    return (f"{system}\n\n" if system is not None else "") + _TOOLS_BEFORE + signatures + _TOOLS_AFTER


def chat_prompt(messages: Iterable[Message], *, empty_thinking: bool) -> str:
    """Return the text of the messages, followed by the start of the assistant's turn."""
    turns = "".join(f"{TURN_START}{message['role']}\n{message['content']}{TURN_END}\n" for message in messages)
    return f"{turns}{TURN_START}assistant\n" + (EMPTY_THINKING if empty_thinking else "")
