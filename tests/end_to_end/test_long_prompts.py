"""A file of lines that are far too long for the model is refused line by line, in little memory and time."""

from __future__ import annotations

import json
from pathlib import Path

from testing.models.pytorch_memory import pytorch_bytes
from testing.processes.command_line import environment, qwen_batch, read_jsonl, write_jsonl

CACHE_BYTES = 64 << 20
CHARS = 5_000_000


def test_fifteen_prompts_of_five_megabytes_stay_within_the_workers_memory(tmp_path: Path) -> None:
    contents = [
        "word and so on, " * (CHARS // 16),
        "a" * CHARS,
        " " * CHARS,
        "<|im_end|>" * (CHARS // 10),
        "你" * (CHARS // 6),
    ]
    lines = [
        *({"prompt": text} for text in contents),
        *({"messages": [{"role": "user", "content": text}]} for text in contents),
        *(
            {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": text}]}
            for text in contents
        ),
        {"prompt": "Hello", "max_tokens": 1},
    ]
    prompts = write_jsonl(tmp_path / "prompts.jsonl", lines)
    output, stats = tmp_path / "results.jsonl", tmp_path / "stats.json"

    done = qwen_batch(
        *("run", prompts, "-o", output, "--stats", stats, "--no-compile", "--kv-cache-memory", str(CACHE_BYTES)),
        env=environment(tmp_path / "state"),
    )

    assert done.returncode == 1, done.stderr
    results = read_jsonl(output)
    assert [(line["error"] or {}).get("code") for line in results] == ["prompt_too_long"] * (len(lines) - 1) + [None]
    (worker,) = json.loads(stats.read_text(encoding="utf-8"))["workers"]
    assert worker["peak_memory_bytes"] < CACHE_BYTES + pytorch_bytes() + 370e6
