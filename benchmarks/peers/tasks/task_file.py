"""A task as a prompt file for qwen-batch, and the check of its results."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.peers.tasks.task import Task


def write_prompts(task: Task, path: Path) -> None:
    """Write one line per request: the prompt's ids, to decode greedily past any end of text."""
    lines = [
        {"prompt": prompt, "max_tokens": length, "temperature": 0, "ignore_eos": True}
        for prompt, length in zip(task.prompts, task.lengths, strict=True)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def check_results(task: Task, path: Path) -> None:
    """Raise `SystemExit` if a token is missing in the results at `path`."""
    usages = [json.loads(line)["usage"] for line in path.read_text(encoding="utf-8").splitlines()]
    counts = [usage["completion_tokens"] for usage in usages]
    if counts != task.lengths:
        raise SystemExit(f"{task.kind}: {task.lengths} tokens were asked for, {counts} came.")
