"""Checks of the whole model in float32: a device against the CPU, and the engine's steps against plain ones."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.gpu.finding import Finding
from engine.config import EngineConfig
from engine.execution.model_runner import ModelRunner
from engine.load import load_engine, set_up_machine
from engine.request import Request
from engine.scheduling.batch import Batch
from engine.scheduling.sequence import Sequence
from jobs.records.sampling import SamplingParams
from model.checkpoint.config import ModelConfig
from model.generate import generate_text_basic_cache
from model.qwen3 import Qwen3ForCausalLM
from model.rectangular_batch import RectangularBatch

PROMPTS, PROMPT_TOKENS, NEW_TOKENS = 8, 100, 24
LOGITS_ALLOWED = 1e-3  # allowed error as a share of the largest logit: all layers sum in another order
TEXTS_ALLOWED = 1  # allowed prompts with another text: two tokens may be almost equally likely


def check_model(folder: Path, config: EngineConfig, device: torch.device) -> Iterator[Finding]:
    """Run the checks in float32, for a checkpoint of any type.

    Args:
        folder: A checkpoint with its tokenizer.
        config: The engine's other settings.
        device: The device that `config` names.
    """
    exact = replace(config, dtype="float32", max_num_seqs=PROMPTS, max_model_len=512)
    vocab = ModelConfig.from_folder(folder).vocab_size
    luck = random.Random(0)
    prompts = torch.tensor([[luck.randrange(vocab) for _ in range(PROMPT_TOKENS)] for _ in range(PROMPTS)])
    on_cpu = Qwen3ForCausalLM.from_folder(folder, dtype=torch.float32)
    expected = generate_text_basic_cache(on_cpu, prompts, NEW_TOKENS)
    prefilled, decoded = _logits(on_cpu, prompts, expected)
    del on_cpu
    there = Qwen3ForCausalLM.from_folder(folder, dtype=torch.float32, device=device)
    for name, ours, theirs in zip(
        ("prefill", "decode"), _logits(there, prompts, expected), (prefilled, decoded), strict=True
    ):
        error = float((ours - theirs).abs().max() / theirs.abs().max())
        yield Finding(f"logits of {name}, float32: largest error", error, LOGITS_ALLOWED)
    del there
    yield Finding("greedy texts of the engine that part", _parted(folder, exact, prompts, expected), TEXTS_ALLOWED)
    yield Finding("waits of a decode step beyond the one for ids", _extra_waits(folder, exact, device), 0)


def _logits(model: Qwen3ForCausalLM, prompts: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits after the prompts, and after a decode step with the first of `ids`."""
    batch = RectangularBatch(model, PROMPTS, PROMPT_TOKENS + 1)
    after_prompt = batch.next_logits(prompts.to(model.device), start=0)
    return after_prompt.cpu(), batch.next_logits(ids[:, :1].to(model.device), start=PROMPT_TOKENS).cpu()


def _parted(folder: Path, config: EngineConfig, prompts: torch.Tensor, expected: torch.Tensor) -> float:
    loaded = load_engine(folder, config, log=print)
    params = SamplingParams(max_tokens=NEW_TOKENS, temperature=0, ignore_eos=True)
    try:
        tickets = loaded.engine.submit_many(Request(tuple(prompt), params) for prompt in prompts.tolist())
        texts = [list(ticket.future.result().token_ids) for ticket in tickets]
    finally:
        loaded.engine.shutdown()
    return float(sum(text != row for text, row in zip(texts, expected.tolist(), strict=True)))


def _extra_waits(folder: Path, config: EngineConfig, device: torch.device) -> float:
    """Return the number of waits that PyTorch counts in a warm greedy decode step. 0 for a device without waits."""
    if device.type != "cuda":
        return 0
    model_config = ModelConfig.from_folder(folder)
    resolved, has_kernels = set_up_machine(config, model_config, print)
    runner = ModelRunner.from_folder(
        folder, resolved, vocab_limit=model_config.vocab_size, has_kernels=has_kernels, log=print
    )
    runner.warm_up()
    sequences = [Sequence.on_sink_page() for _ in range(3)]
    for sequence in sequences:
        sequence.num_computed = 2
    batch = Batch.decode(sequences)
    runner.run(batch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            runner.run(batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return max(0, sum("synchroniz" in str(warning.message) for warning in caught) - 1)
