"""Tiny random Qwen3 checkpoints, written file by file or by transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from model.checkpoint.config import ModelConfig
from model.checkpoint.load import LM_HEAD, expected_shapes

TINY: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}


TINY_EXPERTS: dict[str, Any] = {
    "num_experts": 8,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 32,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}


def tiny_config(**shape: Any) -> dict[str, Any]:
    """A `config.json` in transformers 5's spelling; `shape` overrides its fields by their names there."""
    base = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_act": "silu",
        "attention_bias": False,
        "use_sliding_window": False,
        "dtype": "float32",
        "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    }
    if "num_experts" in shape:
        base |= {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe"}
    return base | TINY | shape


def write_tiny_checkpoint(folder: Path, *, seed: int = 0, shards: int = 1, **shape: Any) -> Path:
    """Writes `config.json` and random float32 or bfloat16 weights (no tokenizer) to `folder`; returns `folder`.

    Weights are large enough that greedy choices are varied and logits well apart. Needs no transformers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    raw = tiny_config(**shape)
    (folder / "config.json").write_text(json.dumps(raw, indent=2), encoding="utf-8")
    generator = torch.Generator().manual_seed(seed)
    config = ModelConfig.from_folder(folder)
    dtype = getattr(torch, config.dtype)
    tensors = {}
    for name, size in expected_shapes(config).items():
        if name == LM_HEAD and config.tie_word_embeddings:
            continue
        noise = torch.randn(size, generator=generator)
        tensors[name] = (1 + 0.2 * noise if len(size) == 1 else noise * 2 * size[1] ** -0.5).to(dtype)
    write_tensors(folder, tensors, shards=shards)
    return folder


def write_tensors(folder: Path, tensors: dict[str, torch.Tensor], *, shards: int = 1) -> None:
    """Writes `model.safetensors`, or that many shards and their index."""
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(tensors)
    weight_map: dict[str, str] = {}
    for index in range(shards):
        file = f"model-{index + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[index::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index_json = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index_json), encoding="utf-8")


def change_tensors(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Writes `model.safetensors` anew, after `edit` has changed its tensors."""
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    write_tensors(folder, tensors)


def write_transformers_checkpoint(folder: Path, *, seed: int = 0, max_shard_size: str = "5GB", **shape: Any) -> Path:
    """The same through transformers' own `save_pretrained`, for parity; needs transformers."""
    from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

    torch.manual_seed(seed)
    settings = TINY | {"initializer_range": 0.2} | shape
    model = (
        Qwen3MoeForCausalLM(Qwen3MoeConfig(**settings))
        if "num_experts" in shape
        else Qwen3ForCausalLM(Qwen3Config(**settings))
    )
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter, mean=1.0, std=0.2)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    return folder
