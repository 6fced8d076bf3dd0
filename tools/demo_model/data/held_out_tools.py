"""Chats with tools that training has not seen, with their right answers. This module imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from tools.demo_model.data.chat_format import Message, tool_result, with_tools
from tools.demo_model.data.held_out import HeldOutPrompt
from tools.demo_model.data.splits import Split
from tools.demo_model.tasks.tool_use import ToolConversation, draw_tool_conversation

CALL_ID = "call_1"


def call_message(answer: str) -> dict[str, Any]:
    """Return the assistant's message, in the OpenAI format, for an answer that is one call."""
    call = json.loads(answer.removeprefix("<tool_call>").removesuffix("</tool_call>"))
    function = {"name": call["name"], "arguments": json.dumps(call["arguments"])}
    calls = [{"id": CALL_ID, "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


@dataclass(frozen=True)
class ToolChat:
    """A chat with one question beside tools. With `has_result`, the question's call and its result follow."""

    conversation: ToolConversation
    has_result: bool

    @property
    def answer(self) -> str:
        """The model's right answer: a call, a call's result, or a bare answer."""
        [turn] = self.conversation.turns
        return turn.result if self.has_result and turn.result is not None else turn.question.answer

    @property
    def task(self) -> str:
        """The kind of the answer: "tool-weather" or another call, "tool-result", or "tool-none"."""
        [turn] = self.conversation.turns
        if turn.result is None:
            return "tool-none"
        return "tool-result" if self.has_result else turn.question.task

    def as_prompt(self) -> HeldOutPrompt:
        """Return the chat for an evaluation without a chat template: tools, calls and results are plain messages."""
        [turn] = self.conversation.turns
        messages: list[Message] = [
            {"role": "system", "content": with_tools(self.conversation.system, self.conversation.tools)},
            {"role": "user", "content": turn.question.text},
        ]
        if self.has_result and turn.result is not None:
            messages += [{"role": "assistant", "content": turn.question.answer}, tool_result(turn.result)]
        return HeldOutPrompt(messages, self.answer, self.task)

    def as_line(self) -> dict[str, Any]:
        """Return the chat as a user sends it, in the native format."""
        [turn] = self.conversation.turns
        system = self.conversation.system
        messages: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
        messages.append({"role": "user", "content": turn.question.text})
        if self.has_result and turn.result is not None:
            result = {"role": "tool", "tool_call_id": CALL_ID, "content": turn.result}
            messages += [call_message(turn.question.answer), result]
        return {"messages": messages, "tools": list(self.conversation.tools)}


def _chats(split: Split, rng: Random) -> Iterator[ToolChat]:
    """Yield chats endlessly. A question whose answer is a call is followed by a chat that also has the result."""
    while True:
        conversation = draw_tool_conversation(1, split, rng)
        yield ToolChat(conversation, has_result=False)
        if conversation.turns[0].result is not None:
            yield ToolChat(conversation, has_result=True)


def held_out_tool_chats(count: int, split: Split = Split.TEST) -> list[ToolChat]:
    """Return `count` different chats with tools, the same in every call."""
    chosen: dict[str, ToolChat] = {}
    for chat in _chats(split, Random(f"tools held out for {split.value}")):
        chosen.setdefault(json.dumps(chat.as_line()), chat)
        if len(chosen) == count:
            break
    return list(chosen.values())
