"""The example files: every task, as raw prompts and as chats. Training has not seen half of the instances."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

from tools.demo_model.data.held_out import as_chat
from tools.demo_model.data.splits import Split
from tools.demo_model.tasks.letters import LETTERS
from tools.demo_model.tasks.registry import TASKS
from tools.demo_model.tasks.task import Task
from tools.demo_model.wording.questions import Question, draw_question
from tools.demo_model.wording.texts import CHAPTER_ANSWER, CHAPTER_PROMPT, GREETING, GREETING_ANSWER
from tools.demo_model.wording.words import ENGLISH_WORDS

_ROUNDS = 6  # questions of each task
_NATIVE_LINES = 100
_OPENAI_LINES = 20
_EARLIER_TASKS = [task for task in TASKS if task not in LETTERS]  # whose words may be unreadable

Line = dict[str, Any]


def _readable_question(task: Task, split: Split, rng: Random) -> Question:
    words = set(ENGLISH_WORDS)
    while True:
        question = draw_question(task, split, rng)
        if task not in LETTERS or question.key in words:
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
            question = _readable_question(task, split, rng)
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


def as_jsonl(lines: list[tuple[Line, str]]) -> str:
    """Return the lines without their answers, as JSONL text."""
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line, _ in lines)
