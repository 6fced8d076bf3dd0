"""The same folder, loaded by transformers and by us, gives the same logits and the same text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from model.qwen3 import Qwen3ForCausalLM
from model.sampling.logprobs import LogSoftmax
from testing.models.packed_steps import CachedSequence, PackedSteps, ragged_prompts
from testing.models.tiny_checkpoint import TINY, TINY_EXPERTS, write_transformers_checkpoint

YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}


def as_saved(raw: dict[str, Any]) -> dict[str, Any]:
    return raw


def in_transformers_4_spelling(raw: dict[str, Any]) -> dict[str, Any]:
    rope = dict(raw.pop("rope_parameters"))
    theta = rope.pop("rope_theta")
    scaling = None if rope["rope_type"] == "default" else rope
    return raw | {"rope_theta": theta, "rope_scaling": scaling, "torch_dtype": raw.pop("dtype")}


def with_experts_in_transformers_4_spelling(raw: dict[str, Any]) -> dict[str, Any]:
    return raw | {"num_experts": raw.pop("num_local_experts")}


CASES: dict[str, tuple[dict[str, Any], str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "tied": ({}, "5GB", as_saved),
    "untied, four layers, no groups": (
        {"tie_word_embeddings": False, "num_hidden_layers": 4, "num_key_value_heads": 4},
        "5GB",
        as_saved,
    ),
    "groups of four, sharded": ({"num_key_value_heads": 1, "num_hidden_layers": 4}, "100KB", as_saved),
    "old spelling": ({"num_attention_heads": 6, "num_key_value_heads": 3}, "5GB", in_transformers_4_spelling),
    "yarn": ({"rope_parameters": YARN}, "5GB", as_saved),
    "yarn, old spelling": ({"rope_parameters": YARN | {"beta_fast": 16}}, "5GB", in_transformers_4_spelling),
    "yarn, mscale": (
        {"rope_parameters": YARN | {"mscale": 0.7, "mscale_all_dim": 0.5, "truncate": False}},
        "5GB",
        as_saved,
    ),
    "yarn, attention factor": ({"rope_parameters": YARN | {"attention_factor": 1.3}}, "5GB", as_saved),
    "experts": (TINY_EXPERTS, "5GB", as_saved),
    "experts, weights not divided by their sum": (TINY_EXPERTS | {"norm_topk_prob": False}, "5GB", as_saved),
    "one expert for each token": (TINY_EXPERTS | {"num_experts_per_tok": 1}, "5GB", as_saved),
    "all experts for each token": (TINY_EXPERTS | {"num_experts_per_tok": 8}, "5GB", as_saved),
    "experts in every second layer, sharded": (
        TINY_EXPERTS | {"decoder_sparse_step": 2, "num_hidden_layers": 4},
        "100KB",
        as_saved,
    ),
    "experts but in one layer, counted in the old spelling": (
        TINY_EXPERTS | {"mlp_only_layers": [0]},
        "5GB",
        with_experts_in_transformers_4_spelling,
    ),
}


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    shape, shard_size, spelling = request.param
    write_transformers_checkpoint(tmp_path, max_shard_size=shard_size, **shape)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(spelling(json.loads(config.read_text()))))
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard_size != "5GB")
    return tmp_path


def test_logits_and_greedy_text_are_those_of_transformers(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    plain = {"experts_implementation": "eager"} if "experts" in (folder / "config.json").read_text() else {}
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **plain).eval()
    ours = Qwen3ForCausalLM.from_folder(folder, dtype=torch.float32)
    prompts = ragged_prompts(16, longest=90, vocab_size=TINY["vocab_size"])
    sequences = [CachedSequence(list(prompt)) for prompt in prompts]

    logits = PackedSteps(ours, page_size=64).generate(sequences, 64)

    whole = [torch.tensor(sequence.token_ids) for sequence in sequences]
    with torch.inference_mode():  # padded on the right: causal attention does not see it
        expected = theirs(torch.nn.utils.rnn.pad_sequence(whole, batch_first=True)).logits
    for row, (prompt, rows) in enumerate(zip(prompts, logits, strict=True)):
        generated = expected[row, len(prompt) - 1 : len(prompt) - 1 + 64]
        torch.testing.assert_close(rows, generated, atol=1e-4, rtol=0)
        own = rows.argmax(-1)[:, None]
        expected_own = generated.log_softmax(-1).gather(1, own)
        torch.testing.assert_close(LogSoftmax.of(rows).of_tokens(own), expected_own, atol=1e-4, rtol=0)
        # Fed with our text, their choice at every place is our next token: so their greedy text is ours.
        assert rows.argmax(-1).tolist() == generated.argmax(-1).tolist()
