"""`run` on a line that takes every worker down which runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testing.processes.command_line import environment, qwen_batch
from tests.worker.shards.test_quarantine import WITH_A_CRASHING_LINE

LINES = 40


@pytest.mark.slow
def test_only_the_crashing_line_is_lost_and_run_goes_on_to_the_end(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITH_A_CRASHING_LINE)  # Python reads it at every start
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(f'{{"id": "id-{number}", "prompt": "{number}"}}\n' for number in range(LINES)))
    words = ("run", prompts, "-o", tmp_path / "out.jsonl", "--model", tiny_model, "--no-compile", "--max-tokens", "4")
    done = qwen_batch(*words, env=environment(tmp_path / "state", PYTHONPATH=str(tmp_path)))
    assert done.returncode == 1, done.stderr
    results = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [result["id"] for result in results] == [f"id-{number}" for number in range(LINES)]
    failed = {result["id"]: result["error"]["code"] for result in results if result.get("error")}
    assert failed == {"id-35": "worker_lost"}
