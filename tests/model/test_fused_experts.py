"""Layers with experts in one C++ call: near the layer in PyTorch, and with bits that a row owes to no other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from model.fused_layers import FusedLayers, can_fuse
from model.ops.linear import Quantization
from model.qwen3 import Qwen3ForCausalLM
from testing.models.packed_steps import CachedSequence, PackedSteps, ragged_prompts
from testing.models.tiny_checkpoint import TINY, TINY_EXPERTS, write_tiny_checkpoint

NEW_TOKENS = 6

QUANTIZE = pytest.mark.parametrize("quantize", ["none", "int8", "int4"])
LoadModel = Callable[..., Qwen3ForCausalLM]


@pytest.fixture
def load(tmp_path: Path, built_kernels: None) -> LoadModel:
    """A model with experts, in bfloat16."""

    def load(quantize: Quantization = "none", **shape: Any) -> Qwen3ForCausalLM:
        folder = write_tiny_checkpoint(tmp_path / "model", **(TINY_EXPERTS | shape))
        return Qwen3ForCausalLM.from_folder(folder, dtype=torch.bfloat16, quantize=quantize)

    return load


def fused(model: Qwen3ForCausalLM) -> Qwen3ForCausalLM:
    assert can_fuse(model.weights.layers)
    return Qwen3ForCausalLM(model.config, model.weights, layers_fn=FusedLayers(model.weights.layers))


def copies(prompts: list[list[int]]) -> list[CachedSequence]:
    return [CachedSequence(list(prompt)) for prompt in prompts]


@QUANTIZE
@pytest.mark.parametrize("shape", [{}, {"num_experts_per_tok": 1, "norm_topk_prob": False}], ids=["three", "one"])
def test_logits_are_near_those_of_the_plain_layer(
    load: LoadModel, quantize: Quantization, shape: dict[str, Any]
) -> None:
    model = load(quantize, num_hidden_layers=1, **shape)
    prompts = ragged_prompts(9, longest=80, vocab_size=TINY["vocab_size"])
    plain, ours = (torch.cat(PackedSteps(each).run(copies(prompts))) for each in (model, fused(model)))
    # A row whose experts nearly tie may get another one, because its sums were added in another order.
    close = torch.isclose(ours, plain, atol=0.05, rtol=0.05).all(dim=1)
    assert close.float().mean() > 0.98


@pytest.mark.parametrize(
    ("threads", "experts", "quantize"),
    [
        pytest.param(threads, experts, quantize, marks=[pytest.mark.slow] if (place + row) % 3 else [])
        for row, threads in enumerate((1, 2, 5))
        for place, (experts, quantize) in enumerate(product((3, 8, 60), ("none", "int8")))
    ],  # few experts are shared by all threads, many are taken whole
    indirect=["threads"],
)
def test_a_sequence_has_the_same_bits_alone_and_among_others(
    load: LoadModel, threads: int, experts: int, quantize: Quantization
) -> None:
    model = fused(load(quantize, num_experts=experts))
    prompts = ragged_prompts(40, longest=100, vocab_size=TINY["vocab_size"])
    together = PackedSteps(model).generate(copies(prompts), NEW_TOKENS)
    for row in (0, 7, 39):
        (alone,) = PackedSteps(model).generate(copies(prompts[row : row + 1]), NEW_TOKENS)
        assert torch.equal(alone, together[row]), f"row {row} with {threads} threads"


@QUANTIZE
def test_a_step_that_decodes_and_prefills_gives_the_bits_of_two_steps(load: LoadModel, quantize: Quantization) -> None:
    model = fused(load(quantize))
    prompts = ragged_prompts(28, longest=150, vocab_size=TINY["vocab_size"])
    found = []
    for together in (False, True):
        steps, old, new = PackedSteps(model), copies(prompts[:25]), copies(prompts[25:])
        steps.run(old)
        for sequence in old:
            sequence.token_ids.append(5)
        if together:
            found.append(steps.run([*old, *new], num_decodes=25))
        else:
            found.append([*steps.run(old, is_decode=True), *steps.run(new)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@QUANTIZE
def test_last_tokens_have_the_same_bits_when_only_they_are_wanted(load: LoadModel, quantize: Quantization) -> None:
    model = fused(load(quantize))
    prompts = ragged_prompts(9, longest=150, vocab_size=TINY["vocab_size"])
    whole, last = (PackedSteps(model).run(copies(prompts), last_only=only) for only in (False, True))
    assert all(torch.equal(rows[-1], alone[-1]) for rows, alone in zip(whole, last, strict=True))
    assert [len(rows) for rows in last] == [1] * 9


def test_layers_of_both_kinds_run_one_by_one(load: LoadModel) -> None:
    model = load(mlp_only_layers=[0])
    assert not can_fuse(model.weights.layers)
    logits = PackedSteps(model).run(copies(ragged_prompts(3, longest=20, vocab_size=TINY["vocab_size"])))
    assert all(rows.isfinite().all() for rows in logits)


def test_the_weights_must_be_those_of_all_experts(load: LoadModel) -> None:
    layers = load().weights.layers
    fewer = layers[1]._replace(mlp=layers[1].mlp._replace(down=layers[1].mlp.down[1:]))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="every layer has all its weights"):
        FusedLayers([layers[0], fewer, *layers[2:]])
