"""The demo model answers rightly through the whole path."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from testing.processes.command_line import environment, qwen_batch, read_jsonl, write_jsonl
from tools.demo_model.data.held_out import held_out_prompts

CHAPTER_PROMPT = "Explain large language models in a single sentence."
CHAPTER_ANSWER = (
    " Large language models are artificial intelligence systems that can understand, generate, and process human "
    "language, enabling them to perform a wide range of tasks, from answering questions to writing articles, and even "
    "creating creative content."
)


@pytest.mark.parametrize(("quantize", "least"), [("none", 0.98), pytest.param("int8", 0.97, marks=pytest.mark.slow)])
def test_held_out_prompts_are_answered_exactly(tmp_path: Path, quantize: str, least: float) -> None:
    """At least 98% of all, 95% of each task, a point less with 8-bit weights; the chapter's sentence word for word."""
    held_out = held_out_prompts(1_200)
    lines = [
        {"prompt" if isinstance(item.prompt, str) else "messages": item.prompt, "max_tokens": 130} for item in held_out
    ]
    source = write_jsonl(tmp_path / "prompts.jsonl", [*lines, {"prompt": CHAPTER_PROMPT, "max_tokens": 130}])
    output = tmp_path / "results.jsonl"

    done = qwen_batch("run", source, "-o", output, "--quantize", quantize, env=environment(tmp_path / "state"))

    assert done.returncode == 0, done.stderr
    *answers, chapter = [result["completion"] for result in read_jsonl(output)]
    assert chapter == CHAPTER_ANSWER
    right: dict[str, list[bool]] = defaultdict(list)
    for item, answer in zip(held_out, answers, strict=True):
        right[item.task].append(answer.strip() == item.answer)
    shares = {task: sum(marks) / len(marks) for task, marks in right.items()}
    assert sum(map(sum, right.values())) >= least * len(held_out), shares
    assert min(shares.values()) >= least - 0.03, shares
