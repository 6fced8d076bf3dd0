"""Prompts that training has not seen, with their right answers.

This module imports no torch, so a client's test can use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from tools.demo_model.data.chat_format import Message
from tools.demo_model.data.splits import Split
from tools.demo_model.tasks.registry import TASKS
from tools.demo_model.tasks.task import Task
from tools.demo_model.wording.questions import Question, draw_question
from tools.demo_model.wording.texts import SYSTEM_PROMPTS

_EARLIER_TURN_SHARE = 0.1
_SYSTEM_SHARE = 0.1
_MISSES_BEFORE_GIVING_UP = 60


class HeldOutPrompt(NamedTuple):
    """A line to send, and the expected completion. The answer to a raw prompt begins with a space."""

    prompt: str | list[Message]  # raw text, or a chat's messages
    answer: str
    task: str
    thought: str = ""  # expected before the answer, in a chat with thinking


def as_chat(question: Question, rng: Random, earlier_tasks: Sequence[Task] = TASKS) -> list[Message]:
    """Return the question as a chat, sometimes after a system prompt or an earlier turn."""
    messages: list[Message] = []
    if rng.random() < _SYSTEM_SHARE:
        messages.append({"role": "system", "content": rng.choice(SYSTEM_PROMPTS)})
    if rng.random() < _EARLIER_TURN_SHARE:
        earlier = draw_question(rng.choice(earlier_tasks), Split.TRAIN, rng)
        messages.append({"role": "user", "content": earlier.text})
        messages.append({"role": "assistant", "content": earlier.answer})
    messages.append({"role": "user", "content": question.text})
    return messages


def held_out_prompts(count: int, split: Split = Split.TEST, tasks: Sequence[Task] = TASKS) -> list[HeldOutPrompt]:
    """Return `count` different prompts, the same in every call. Tasks take turns, and raw text and chats alternate.

    A task with few held-out instances is left out once it has no new instance.
    """
    rng = Random(f"held out for {split.value}")
    chosen: dict[str, HeldOutPrompt] = {}
    misses = dict.fromkeys(tasks, 0)
    is_chat = False
    while len(chosen) < count:
        for task in [task for task in tasks if misses[task] < _MISSES_BEFORE_GIVING_UP]:
            question = draw_question(task, split, rng)
            prompt = as_chat(question, rng) if is_chat else question.text
            name = repr(prompt)
            misses[task] = misses[task] + 1 if name in chosen else 0
            thought = question.thought if is_chat else ""
            chosen.setdefault(name, HeldOutPrompt(prompt, question.answer, task.name, thought))
        is_chat = not is_chat
    return list(chosen.values())[:count]
