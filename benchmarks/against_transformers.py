"""Throughput of `qwen-batch run` on the batch workload, against transformers' static batch, in turn in one run.

    python -m benchmarks.against_transformers MODEL [--requests 64] [--repeat 3]

MODEL is a folder (`benchmarks.random_model` makes one). Both decode the same requests greedily past the end of text.
transformers runs them as one batch, padded on the left, until the longest is done; only the tokens that a request asked
for count. Ours go through command line, queue and store; the rate is the job's `output_throughput`. One JSON line a
measurement, then the ratio of the medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, Qwen3ForCausalLM

from cli.local.batch_throughput import random_workload

Workload = list[tuple[list[int], int]]


def transformers_rate(model: PreTrainedModel, workload: Workload) -> float:
    """Output tokens a second of one static batch."""
    prompts, lengths = [prompt for prompt, _ in workload], [length for _, length in workload]
    width = max(map(len, prompts))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    started_at = time.perf_counter()
    with torch.inference_mode():
        model.generate(ids, attention_mask=mask, max_new_tokens=max(lengths))
    return sum(lengths) / (time.perf_counter() - started_at)


def load_transformers(folder: Path) -> PreTrainedModel:
    """The model in bfloat16, greedy, without an end of text."""
    model: PreTrainedModel = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    model.generation_config = GenerationConfig(do_sample=False, pad_token_id=0, eos_token_id=None)
    return model


def our_figures(folder: Path, workload: Workload) -> dict[str, Any]:
    """Statistics of the job that `qwen-batch run` makes of the workload."""
    with tempfile.TemporaryDirectory() as scratch:
        prompts = Path(scratch) / "prompts.jsonl"
        lines = [
            {"prompt": ids, "max_tokens": length, "temperature": 0, "ignore_eos": True} for ids, length in workload
        ]
        prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
        command = [sys.executable, "-m", "cli.main", "run", str(prompts), "-o", f"{scratch}/results.jsonl"]
        stats = f"{scratch}/stats.json"
        subprocess.run(
            [*command, "--model", str(folder), "--stats", stats, "--state-dir", f"{scratch}/state"], check=True
        )
        figures: dict[str, Any] = json.loads(Path(stats).read_text())
    return figures


def main() -> None:
    """Read the command line, measure in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a Qwen3 model")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    vocab_size = json.loads((arguments.model / "config.json").read_text())["vocab_size"]
    workload = random_workload(arguments.requests, min(vocab_size, 150_000), arguments.seed)
    rates: dict[str, list[float]] = {"qwen-batch": [], "transformers": []}
    for _ in range(arguments.repeat):
        ours = our_figures(arguments.model, workload)
        rates["qwen-batch"].append(ours["output_throughput"])
        print(json.dumps({"system": "qwen-batch", **ours}), flush=True)
        model = load_transformers(arguments.model)
        rates["transformers"].append(transformers_rate(model, workload))
        print(json.dumps({"system": "transformers", "output_throughput": rates["transformers"][-1]}), flush=True)
        del model
    medians = {system: statistics.median(values) for system, values in rates.items()}
    print(json.dumps({"medians": medians, "ratio": medians["qwen-batch"] / medians["transformers"]}))


if __name__ == "__main__":
    main()
