"""The examples of docs/http-api.md and docs/interactive.md run as they are written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from testing.processes.worker_under_test import WorkerUnderTest
from tests.conftest import require
from tests.server.conftest import REPOSITORY, ServeProcess, chat_line, jsonl

WRITTEN_ADDRESS = "http://127.0.0.1:8000"


def output_of(page: str, language: str, address: str, folder: Path) -> str:
    """What the example of a page prints."""
    require(shutil.which("curl") is not None, "needs curl")
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    (example,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    program = example.replace(WRITTEN_ADDRESS, address)
    words = ["bash", "-e", "-c", program] if language == "sh" else [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("language", ["sh", pytest.param("python", marks=pytest.mark.slow)])
def test_an_example_prints_the_results_of_its_batch(
    service: ServeProcess, worker: WorkerUnderTest, tmp_path: Path, language: str
) -> None:
    (tmp_path / "batch.jsonl").write_bytes(jsonl(chat_line(1), chat_line(2)))
    lines = [
        json.loads(line) for line in output_of("http-api.md", language, service.address, tmp_path).splitlines() if line
    ]
    assert [line["response"]["status_code"] for line in lines] == [200, 200]


@pytest.mark.parametrize("language", ["sh", pytest.param("python", marks=pytest.mark.slow)])
def test_an_example_of_a_chat_prints_its_answer(
    service: ServeProcess, worker: WorkerUnderTest, tmp_path: Path, language: str
) -> None:
    printed = output_of("interactive.md", language, service.address, tmp_path)
    if language == "python":
        whole, streamed = printed.splitlines()
        assert whole == streamed == "5"
        return
    *events, last = [line.removeprefix("data: ") for line in printed.splitlines() if line.startswith("data: ")]
    assert last == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content", "") for delta in deltas) == "5"
