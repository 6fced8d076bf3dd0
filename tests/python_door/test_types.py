"""A type checker sees the types of the Python door in a user's program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testing.processes.command_line import REPOSITORY

pytestmark = pytest.mark.slow

PROGRAM = """
from collections.abc import Iterator

import qwen_batch


def rows() -> Iterator[dict[str, str]]:
    yield {"question": "What is 2 + 3?"}


def main() -> None:
    job = qwen_batch.submit(rows(), template="{{ question }}", model="demo", temperature=0.5, stop=["x"])
    for result in job.results("finished"):
        reveal_type(result.completion)
        if result.error is not None:
            reveal_type(result.error.message)
    reveal_type(job.wait(timeout=3).output_throughput)
    with qwen_batch.local("demo", threads=2) as client:
        client.submit(["a.jsonl", "b.csv"], last_assistant="drop")
        client.submit([{"prompt": "a"}])
"""
WRONG = """
import qwen_batch

qwen_batch.submit([{"prompt": "a"}], temprature=1)
qwen_batch.submit([{"prompt": "a"}], max_tokens="many")
qwen_batch.submit(5)
qwen_batch.local("demo", threads="two")
qwen_batch.job("id").results("any")
qwen_batch.job("id").status().speed
"""


def mypy(program: str, folder: Path) -> list[str]:
    """What mypy says about a program, a line each, without its last line."""
    path = folder / "program.py"
    path.write_text(program)
    words: list[str | Path] = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        os.devnull,
        "--cache-dir",
        folder / "cache",
        path,
    ]
    environment = os.environ | {"MYPYPATH": str(REPOSITORY)}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if line.startswith("program.py")]


def test_a_program_is_checked_and_its_mistakes_are_found(tmp_path: Path) -> None:
    found = [line.partition('Revealed type is "')[2].rstrip('"') for line in mypy(PROGRAM, tmp_path)]
    assert found == ["str | None", "str", "float | None"]
    wrong = {int(line.split(":")[1]) for line in mypy(WRONG, tmp_path)}
    assert wrong == {4, 5, 6, 7, 8, 9}
