"""Quantised checkpoints through the real command line. Their answers are those of the model that was quantised."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jobs.records.model_card import builtin_demo_folder
from testing.models.quantised_checkpoint import FORMATS, quantise_checkpoint
from testing.processes.command_line import environment, qwen_batch, read_jsonl, write_jsonl

SUMS = [(17, 25), (37, 48), (5, 9), (60, 31), (12, 12), (44, 7), (81, 18), (23, 50)]

CASES = [pytest.param(format, "none", id=format, marks=pytest.mark.slow) for format in FORMATS if format != "gptq4"]
CASES += [pytest.param("gptq4", "none", id="gptq4"), pytest.param("fp8", "int8", id="fp8 in int8")]


@pytest.mark.parametrize(("format", "quantize"), CASES)
def test_a_quantised_demo_model_still_adds(tmp_path: Path, format: str, quantize: str) -> None:
    model = shutil.copytree(builtin_demo_folder(), tmp_path / "quantised")
    quantise_checkpoint(model, format)
    lines = [{"messages": [{"role": "user", "content": f"What is {a} + {b}?"}], "max_tokens": 8} for a, b in SUMS]
    prompts, output = write_jsonl(tmp_path / "prompts.jsonl", lines), tmp_path / "results.jsonl"
    words = ("run", prompts, "-o", output, "--model", model, "--quantize", quantize, "--kv-cache-memory", "4MiB")
    done = qwen_batch(*words, "--no-compile", env=environment(tmp_path / "state"))
    assert done.returncode == 0, done.stderr
    assert [line["completion"] for line in read_jsonl(output)] == [str(a + b) for a, b in SUMS]
