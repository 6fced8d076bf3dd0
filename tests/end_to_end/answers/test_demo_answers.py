"""The demo model answers rightly through the whole path."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from testing.processes.command_line import environment, qwen_batch, read_jsonl, write_jsonl
from tools.demo_model.data.chat_format import tool_call
from tools.demo_model.data.held_out import held_out_prompts
from tools.demo_model.data.held_out_tools import held_out_tool_chats
from tools.demo_model.tasks.registry import WRAPPED_TASKS

CHAPTER_PROMPT = "Explain large language models in a single sentence."
CHAPTER_ANSWER = (
    " Large language models are artificial intelligence systems that can understand, generate, and process human "
    "language, enabling them to perform a wide range of tasks, from answering questions to writing articles, and even "
    "creating creative content."
)


SECOND_LESSON = ("json", "think", "tool")  # first words of the names of its tasks


class Asked(NamedTuple):
    """A line, and what must come back."""

    line: dict[str, Any]
    answer: str
    task: str
    thought: str = ""


def held_out_lines(part: int) -> Iterator[Asked]:
    """Yield lines of all tasks, whose questions training has not seen: of each task, one `part`-th of all we have."""
    for item in held_out_prompts(1_200 // part) + held_out_prompts(300 // part, tasks=WRAPPED_TASKS):
        kind = "prompt" if isinstance(item.prompt, str) else "messages"
        yield Asked({kind: item.prompt, "max_tokens": 130}, item.answer, item.task, item.thought)
    for chat in held_out_tool_chats(100 // part):
        yield Asked({**chat.as_line(), "max_tokens": 130}, chat.answer, chat.task)


def answer_of(result: Mapping[str, Any]) -> str:
    """Return the answer of a native result as the model wrote it: its text and its calls."""
    functions = [call["function"] for call in result.get("tool_calls", ())]
    calls = [tool_call(function["name"], json.loads(function["arguments"])) for function in functions]
    return "\n".join([text for text in (result["completion"],) if text] + calls)


def share(marks: list[bool]) -> float:
    return sum(marks) / len(marks)


@pytest.mark.parametrize(
    ("quantize", "least", "part"),
    [
        ("none", 0.98, 4),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("none", 0.98, 1), ("int8", 0.97, 1), ("int4", 0.95, 1))
        ),
    ],
)
def test_held_out_prompts_are_answered_exactly(tmp_path: Path, quantize: str, least: float, part: int) -> None:
    """At least 98% of all, 95% of each task, a point less with 8-bit weights; the chapter's sentence word for word.

    JSON, thoughts and calls of tools may have another point less. An answer is right only if it comes with a thought
    exactly where the question asks for one. A part of all lines has few of each task, which may have one miss.
    """
    held_out = list(held_out_lines(part))
    lines = [asked.line for asked in held_out]
    source = write_jsonl(tmp_path / "prompts.jsonl", [*lines, {"prompt": CHAPTER_PROMPT, "max_tokens": 130}])
    output = tmp_path / "results.jsonl"

    done = qwen_batch("run", source, "-o", output, "--quantize", quantize, env=environment(tmp_path / "state"))

    assert done.returncode == 0, done.stderr
    *results, chapter = read_jsonl(output)
    assert chapter["completion"] == CHAPTER_ANSWER
    right: dict[str, list[bool]] = defaultdict(list)
    for asked, result in zip(held_out, results, strict=True):
        is_right = answer_of(result).strip() == asked.answer
        right[asked.task].append(is_right and bool(result.get("reasoning")) is bool(asked.thought))
    shares = {task: share(marks) for task, marks in right.items()}
    later = {task: marks for task, marks in right.items() if task.startswith(SECOND_LESSON)}
    assert share([mark for task, marks in right.items() if task not in later for mark in marks]) >= least, shares
    few = [task for task, marks in right.items() if share(marks) < least - 0.03]
    assert all(part > 1 and right[task].count(False) == 1 for task in few), shares
    for name in SECOND_LESSON:
        assert share([mark for task in later if task.startswith(name) for mark in later[task]]) >= least - 0.01, shares
