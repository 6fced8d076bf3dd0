"""Greedy ids through the whole path (command, server, queue, worker, store) against transformers' logits."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from testing.models.tiny_checkpoint import write_transformers_checkpoint
from testing.processes.command_line import REPOSITORY, environment, qwen_batch, read_jsonl, write_jsonl

NUM_PROMPTS, NUM_NEW_TOKENS = 32, 64
DEMO = REPOSITORY / "model" / "demo"
YARN = {
    "rope_type": "yarn",
    "rope_theta": 1_000_000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 128,
}


@dataclass(frozen=True)
class Case:
    """A kind of checkpoint; together the cases cover every feature of the loader."""

    shape: dict[str, Any]
    max_shard_size: str = "5GB"
    old_spelling: bool = False
    compile: bool = True


CASES = {
    "tied, groups of 2": Case({"tie_word_embeddings": True}),
    "untied, sharded, 4 layers": Case(
        {"tie_word_embeddings": False, "num_hidden_layers": 4}, max_shard_size="100KB", compile=False
    ),
    "old spelling, groups of 4": Case({"num_key_value_heads": 1}, old_spelling=True, compile=False),
    "yarn, sharded, no groups": Case(
        {"num_key_value_heads": 4, "rope_parameters": YARN}, max_shard_size="100KB", compile=False
    ),
    "yarn in the old spelling": Case({"rope_parameters": YARN}, old_spelling=True, compile=False),
}


def write_checkpoint(folder: Path, case: Case) -> None:
    tokenizer = json.loads((DEMO / "tokenizer.json").read_text())
    ids = [*tokenizer["model"]["vocab"].values(), *(token["id"] for token in tokenizer["added_tokens"])]
    write_transformers_checkpoint(
        folder, max_shard_size=case.max_shard_size, vocab_size=max(ids) + 1, dtype="float32", **case.shape
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / name, folder / name)
    if case.old_spelling:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        config["torch_dtype"] = config.pop("dtype")
        config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
        path.write_text(json.dumps(config))


def greedy_choices(model: torch.nn.Module, prompt: list[int], completion: list[int]) -> list[int]:
    """What transformers would say at each place of `completion`, given what stands before it."""
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + completion])).logits[0]
    return [int(token) for token in logits[len(prompt) - 1 : -1].argmax(-1)]


@pytest.mark.parametrize(
    "name",
    [name if case.compile else pytest.param(name, marks=pytest.mark.slow) for name, case in CASES.items()],
)
def test_greedy_ids_of_a_batch_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    case = CASES[name]
    folder = tmp_path / "tiny-qwen3"
    write_checkpoint(folder, case)
    rng = random.Random(1)
    prompts = [[rng.randrange(900) for _ in range(rng.randint(1, 90))] for _ in range(NUM_PROMPTS)]
    settings = {"max_tokens": NUM_NEW_TOKENS, "temperature": 0, "ignore_eos": True, "return_token_ids": True}
    source = write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": prompt, **settings} for prompt in prompts])
    output = tmp_path / "results.jsonl"

    flags = () if case.compile else ("--no-compile",)
    done = qwen_batch(
        "run", source, "-o", output, "--model", folder, *flags, env=environment(tmp_path / "state"), timeout=280
    )

    assert done.returncode == 0, done.stderr
    results = read_jsonl(output)
    assert [len(result["token_ids"]) for result in results] == [NUM_NEW_TOKENS] * NUM_PROMPTS
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for prompt, result in zip(prompts, results, strict=True):
        assert result["token_ids"] == greedy_choices(model, prompt, result["token_ids"])
