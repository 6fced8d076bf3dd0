"""Conversations with tools: the model calls one, or answers a question that needs none.

The demo model knows two tools. Their names and parameters are fixed, and their descriptions vary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tools.demo_model.data.chat_format import Tool, tool_call
from tools.demo_model.data.splits import Split
from tools.demo_model.tasks.arithmetic import ARITHMETIC
from tools.demo_model.tasks.recall import RECALL
from tools.demo_model.tasks.task import Instance, Task
from tools.demo_model.wording.facts import CAPITALS
from tools.demo_model.wording.phrasings import LATER_PHRASINGS, PHRASINGS
from tools.demo_model.wording.questions import Question, draw_question
from tools.demo_model.wording.texts import SYSTEM_PROMPTS

_SKIES = ("sunny", "cloudy", "rainy", "snowy", "windy", "foggy")
_SYSTEM_SHARE = 0.15
_NO_CALL_SHARE = 0.25
_BOTH_TOOLS_SHARE = 0.4


def _draw_product(rng: Random) -> Instance:
    a, b = (rng.randrange(10 ** rng.randint(1, 2)) for _ in range(2))
    return Instance({"a": str(a), "b": str(b)}, tool_call("multiply", {"a": a, "b": b}), f"{min(a, b)},{max(a, b)}")


def _draw_weather(rng: Random) -> Instance:
    city = rng.choice(sorted(CAPITALS.values()))
    return Instance({"c": city}, tool_call("weather", {"city": city}), city)


def _product(question: Question, _rng: Random) -> str:
    a, b = question.key.split(",")
    return str(int(a) * int(b))


def _weather(_question: Question, rng: Random) -> str:
    return f"{rng.choice(_SKIES)}, {rng.randint(-20, 40)} degrees"


@dataclass(frozen=True)
class KnownTool:
    """A tool, the task of calling it, and what a call returns."""

    task: Task
    parameters: dict[str, str]  # JSON type by name
    descriptions: tuple[str | None, ...]
    result: Callable[[Question, Random], str]

    def signature(self, description: str | None, *, is_required: bool) -> Tool:
        """Return the tool as the OpenAI API has it, with or without a description and required parameters."""
        properties = {name: {"type": kind} for name, kind in self.parameters.items()}
        parameters: dict[str, Any] = {"type": "object", "properties": properties}
        if is_required:
            parameters["required"] = list(properties)
        described = {} if description is None else {"description": description}
        name = self.task.name.removeprefix("tool-")
        return {"type": "function", "function": {"name": name, **described, "parameters": parameters}}

    def offer(self, rng: Random) -> Tool:
        """Return the tool as some user may write it."""
        is_required = rng.random() < 0.75
        return self.signature(rng.choice(self.descriptions), is_required=is_required)


MULTIPLY = KnownTool(
    Task(name="tool-multiply", weight=1.0, phrasings=PHRASINGS["multiply"], draw=_draw_product),
    {"a": "integer", "b": "integer"},
    (None, "Multiply two numbers."),
    _product,
)
WEATHER = KnownTool(
    Task(name="tool-weather", weight=1.0, phrasings=LATER_PHRASINGS["tool-weather"], draw=_draw_weather, is_fact=True),
    {"city": "string"},
    (None, "Get the weather in a city."),
    _weather,
)
KNOWN_TOOLS: tuple[KnownTool, ...] = (MULTIPLY, WEATHER)
_WITHOUT_CALL = [task for task in (*ARITHMETIC, *RECALL) if task.name not in ("multiply", "by-heart")]


@dataclass(frozen=True)
class ToolTurn:
    """A question beside tools. If its answer is a call, the call's result and the answer to it follow."""

    question: Question
    result: str | None  # what the called tool returns, which is also the model's next answer; None without a call


@dataclass(frozen=True)
class ToolConversation:
    """Questions beside tools."""

    system: str | None
    tools: tuple[Tool, ...]
    turns: tuple[ToolTurn, ...]


def _draw_turn(known: Sequence[KnownTool], split: Split, rng: Random) -> ToolTurn:
    if rng.random() < _NO_CALL_SHARE:
        return ToolTurn(draw_question(rng.choice(_WITHOUT_CALL), split, rng), None)
    tool = rng.choice(known)
    question = draw_question(tool.task, split, rng)
    return ToolTurn(question, tool.result(question, rng))


def draw_tool_conversation(turns: int, split: Split, rng: Random) -> ToolConversation:
    """Return a conversation of so many questions, all of them from the split."""
    known = rng.sample(KNOWN_TOOLS, 2 if rng.random() < _BOTH_TOOLS_SHARE else 1)
    system = rng.choice(SYSTEM_PROMPTS) if rng.random() < _SYSTEM_SHARE else None
    tools = tuple(tool.offer(rng) for tool in known)
    return ToolConversation(system, tools, tuple(_draw_turn(known, split, rng) for _ in range(turns)))
