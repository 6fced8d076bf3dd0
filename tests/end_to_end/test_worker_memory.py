"""A worker's memory is its weights, its cache and little else, at the size of a real model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.random_model import DEMO, write_random_model
from testing.models.pytorch_memory import pytorch_bytes
from testing.processes.command_line import environment, qwen_batch, write_jsonl

CACHE_BYTES = 512 << 20
NUM_LINES = 48


@pytest.mark.slow
@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_the_peak_is_a_quarter_above_the_weights_and_370_megabytes_above_the_cache_and_pytorch(
    tmp_path: Path, quantize: str
) -> None:
    model = tmp_path / "qwen3-0.6b"
    write_random_model(model, "0.6b", DEMO)
    weights = (model / "model.safetensors").stat().st_size
    lines = [{"id": str(n), "prompt": f"{n} + " * 20, "max_tokens": 4, "ignore_eos": True} for n in range(NUM_LINES)]
    prompts, stats = write_jsonl(tmp_path / "prompts.jsonl", lines), tmp_path / "stats.json"

    done = qwen_batch(
        *("run", prompts, "-o", tmp_path / "results.jsonl", "--model", model, "--stats", stats),
        *("--kv-cache-memory", "512MiB", "--quantize", quantize),
        env=environment(tmp_path / "state"),
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(stats.read_text(encoding="utf-8"))
    assert figures["completed"] == NUM_LINES
    (worker,) = figures["workers"]
    assert weights > 1.1e9
    assert weights / 2 < worker["peak_memory_bytes"] < 1.25 * weights + CACHE_BYTES + pytorch_bytes() + 370e6
