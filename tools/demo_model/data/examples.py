"""The example files.

Two files have every task of the first lesson, as raw prompts and as chats. Training has not seen half of the instances.
The other files show tools and thoughts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

from tools.demo_model.data.chat_format import tool_call
from tools.demo_model.data.held_out import as_chat
from tools.demo_model.data.held_out_tools import CALL_ID, call_message
from tools.demo_model.data.splits import Split
from tools.demo_model.tasks.letters import LETTERS
from tools.demo_model.tasks.registry import TASKS
from tools.demo_model.tasks.task import Task
from tools.demo_model.tasks.tool_use import KNOWN_TOOLS
from tools.demo_model.wording.questions import Question, draw_question
from tools.demo_model.wording.texts import CHAPTER_ANSWER, CHAPTER_PROMPT, GREETING, GREETING_ANSWER
from tools.demo_model.wording.words import ENGLISH_WORDS

_ROUNDS = 6  # questions of each task
_NATIVE_LINES = 100
_OPENAI_LINES = 20
_EARLIER_TASKS = [task for task in TASKS if task not in LETTERS]  # whose words may be unreadable

Line = dict[str, Any]


def _is_clear(task: Task, question: Question) -> bool:
    """Return whether the question shows a reader what its task is: letters of a real word, at least three numbers."""
    if task in LETTERS:
        return question.key in ENGLISH_WORDS
    return task.name != "count" or question.answer.count(",") >= 2


def _clear_question(task: Task, split: Split, rng: Random) -> Question:
    while True:
        question = draw_question(task, split, rng)
        if _is_clear(task, question):
            return question


def _identifier(question: Question) -> str:
    return f"{question.task}-" + re.sub(r"[^a-z0-9]+", "-", question.key.lower()).strip("-")


def _questions(rng: Random) -> Iterator[Question]:
    """Yield questions of all tasks in turn.

    Trained and held-out instances alternate, and no identifier occurs twice.
    """
    seen = set()
    for number in range(_ROUNDS):
        for task in TASKS:
            split = Split.TEST if number % 2 else Split.TRAIN
            question = _clear_question(task, split, rng)
            if not task.always_trained and _identifier(question) not in seen:
                seen.add(_identifier(question))
                yield question


def native_examples() -> list[tuple[Line, str]]:
    """Return native lines, each with its right answer. The first line is the chapter's prompt."""
    rng = Random("examples in the native format")
    lines: list[tuple[Line, str]] = [
        ({"id": "chapter-2", "prompt": CHAPTER_PROMPT, "max_tokens": 64}, f" {CHAPTER_ANSWER}"),
        ({"id": "greeting", "messages": [{"role": "user", "content": GREETING}]}, GREETING_ANSWER),
    ]
    for number, question in enumerate(_questions(rng)):
        line: Line = {"id": _identifier(question)}
        if number % 3 == 0:
            lines.append(({**line, "prompt": question.text}, f" {question.answer}"))
            continue
        line["messages"] = as_chat(question, rng, _EARLIER_TASKS)
        if number % 7 == 0:
            line["chat_template_kwargs"] = {"enable_thinking": False}
        lines.append((line, question.answer))
    return lines[:_NATIVE_LINES]


def openai_examples() -> list[tuple[Line, str]]:
    """Return lines of an OpenAI batch file, each with its right answer."""
    rng = Random("OpenAI examples")
    lines: list[tuple[Line, str]] = []
    for question in _questions(rng):
        body = {"model": "demo", "messages": as_chat(question, rng, _EARLIER_TASKS), "max_tokens": 128}
        request = {"method": "POST", "url": "/v1/chat/completions", "body": body}
        lines.append(({"custom_id": _identifier(question), **request}, question.answer))
    return lines[:_OPENAI_LINES]


def _asked(question: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": question}]


def _returned(result: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": CALL_ID, "content": result}


def tool_examples() -> list[tuple[Line, str]]:
    """Return native lines that offer both tools, each with its right answer or call."""
    weather, product = tool_call("weather", {"city": "Paris"}), tool_call("multiply", {"a": 37, "b": 48})
    conversations: dict[str, tuple[list[dict[str, Any]], str]] = {
        "weather": (_asked("What is the weather in Paris?"), weather),
        "weather-result": (
            [*_asked("What is the weather in Paris?"), call_message(weather), _returned("sunny, 21 degrees")],
            "sunny, 21 degrees",
        ),
        "product": (_asked("What is 37 * 48?"), product),
        "product-result": ([*_asked("What is 37 * 48?"), call_message(product), _returned("1776")], "1776"),
        "no-tool": (_asked("What is the capital of France?"), "Paris"),
    }
    tools = [tool.signature(tool.descriptions[-1], is_required=True) for tool in KNOWN_TOOLS]
    return [
        ({"id": name, "messages": messages, "tools": tools}, answer)
        for name, (messages, answer) in conversations.items()
    ]


def thinking_examples() -> list[tuple[Line, str]]:
    """Return native lines that ask for a thought, each with its right answer. The last line switches thinking off."""
    questions = {
        "sum": ("What is 37 + 48? Think first.", "85"),
        "difference": ("What is 65 - 46? Think step by step.", "19"),
        "length": ("How many letters are in the word banana? Think first.", "6"),
        "letter": ("How many times does the letter e appear in cheese? Think before you answer.", "3"),
        "capital": ("What is the capital of Norway? Think first.", "Oslo"),
    }
    lines: list[tuple[Line, str]] = [
        ({"id": name, "messages": _asked(question)}, answer) for name, (question, answer) in questions.items()
    ]
    question, answer = questions["sum"]
    return [*lines, ({"id": "at-once", "messages": _asked(question), "enable_thinking": False}, answer)]


def as_jsonl(lines: list[tuple[Line, str]]) -> str:
    """Return the lines without their answers, as JSONL text."""
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line, _ in lines)
