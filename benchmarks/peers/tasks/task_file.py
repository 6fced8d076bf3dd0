"""A task as a prompt file for qwen-batch, and the check of its results."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.peers.tasks.records import SCHEMA, outcome
from benchmarks.peers.tasks.task import Task

_RECORD = {"json": SCHEMA, "disable_any_whitespace": True}  # as for the peers (`benchmarks.peers.tasks.records`)


def write_prompts(task: Task, path: Path) -> None:
    """Write one line per request: the prompt's ids, to decode greedily. Only a record ends by itself."""
    end = {"structured_outputs": _RECORD} if task.is_records else {"ignore_eos": True}
    lines = [
        {"prompt": prompt, "max_tokens": length, "temperature": 0, **end}
        for prompt, length in zip(task.prompts, task.lengths, strict=True)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def check_results(task: Task, path: Path) -> dict[str, int]:
    """Return what the results at `path` have beside the task's figures: the outcome of records, else nothing.

    Raises:
        SystemExit: A token is missing.
    """
    results = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    counts = [result["usage"]["completion_tokens"] for result in results]
    if task.is_records:
        return outcome([result["completion"] for result in results], counts)
    if counts != task.lengths:
        raise SystemExit(f"{task.kind}: {task.lengths} tokens were asked for, {counts} came.")
    return {}
