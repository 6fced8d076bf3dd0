"""Writes GGUF files from checkpoints, with the names and settings of llama.cpp's converter."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file

ALIGNMENT = 32  # bytes
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate": "ffn_gate_inp",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_SIZES = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
}
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5


class StoredTensor(NamedTuple):
    """A tensor as a file holds it."""

    shape: tuple[int, ...]  # as in PyTorch: the last axis is contiguous
    type: int  # ggml's number
    data: bytes


def _q8_0(matrix: torch.Tensor) -> bytes:
    blocks = matrix.float().reshape(-1, 32)
    scales = (blocks.abs().amax(1, keepdim=True) / 127).half()
    codes = torch.nan_to_num(blocks / scales.float()).round().clamp(-127, 127).to(torch.int8)
    return torch.cat((scales.view(torch.uint8), codes.view(torch.uint8)), dim=1).numpy().tobytes()


def _as(dtype: torch.dtype) -> Callable[[torch.Tensor], bytes]:
    return lambda tensor: tensor.to(dtype).contiguous().view(torch.uint8).numpy().tobytes()


WRITERS: dict[str, tuple[int, Callable[[torch.Tensor], bytes]]] = {
    "F32": (0, _as(torch.float32)),
    "F16": (1, _as(torch.float16)),
    "Q8_0": (8, _q8_0),
    "BF16": (30, _as(torch.bfloat16)),
}


@dataclass
class Gguf:
    """What a file holds. Tests change it before they write it."""

    settings: dict[str, Any]
    tensors: dict[str, StoredTensor]

    def write(self, file: Path) -> Path:
        """Writes the file, and returns it."""
        header = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.settings))
        header += b"".join(_text(key) + _value(value) for key, value in self.settings.items())
        place = 0
        for name, tensor in self.tensors.items():
            sizes = struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape))
            header += _text(name) + struct.pack("<I", len(tensor.shape)) + sizes
            header += struct.pack("<IQ", tensor.type, place)
            place += len(tensor.data) + -len(tensor.data) % ALIGNMENT
        with file.open("wb") as target:
            target.write(_aligned(header))
            target.writelines(_aligned(tensor.data) for tensor in self.tensors.values())
        return file

    def write_parts(self, file: Path, count: int) -> list[Path]:
        """Writes several files, as llama.cpp splits a model. Only the first one has all settings."""
        names, files = list(self.tensors), []
        for number in range(count):
            split = {"split.no": number, "split.count": count, "split.tensors.count": len(names)}
            settings = (self.settings if number == 0 else {}) | split
            part = Gguf(settings, {name: self.tensors[name] for name in names[number::count]})
            path = file.with_name(f"{file.stem}-{number + 1:05d}-of-{count:05d}.gguf")
            files.append(part.write(path))
        return files


def gguf_of(folder: Path, matrices: str = "F32") -> Gguf:
    """Converts the checkpoint in `folder`, which has a tokenizer.

    Args:
        folder: A checkpoint with one safetensors file.
        matrices: Type of the weights with two axes, a key of `WRITERS`. Norms and routers are stored in float32.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = config["model_type"].replace("_", "")
    settings: dict[str, Any] = {
        "general.architecture": architecture,
        "general.name": folder.name,
        "general.quantization_version": 2,
        **{f"{architecture}.{key}": config[name] for key, name in _SIZES.items() if name in config},
        f"{architecture}.rope.freq_base": float(config["rope_parameters"]["rope_theta"]),
    }
    tensors = {name: _stored(name, tensor, matrices) for name, tensor in _tensors(folder).items()}
    return Gguf(settings | _tokenizer(folder, config), tensors)


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Returns the tensors with llama.cpp's names. Experts of a layer become one tensor."""
    named: dict[str, torch.Tensor] = {}
    experts: dict[str, list[torch.Tensor]] = {}
    weights = load_file(folder / "model.safetensors")
    for name in sorted(weights, key=lambda name: [int(part) if part.isdigit() else part for part in name.split(".")]):
        module = name.removesuffix(".weight")
        layer, _, rest = module.removeprefix("model.layers.").partition(".")
        prefix = f"blk.{layer}." if module.startswith("model.layers.") else ""
        if rest.startswith("mlp.experts."):
            part = _NAMES["mlp." + rest.rpartition(".")[2]]
            experts.setdefault(f"{prefix}{part}_exps.weight", []).append(weights[name])
        else:
            named[f"{prefix}{_NAMES[rest if prefix else module]}.weight"] = weights[name]
    return named | {name: torch.stack(parts) for name, parts in experts.items()}


def _stored(name: str, tensor: torch.Tensor, matrices: str) -> StoredTensor:
    is_matrix = tensor.dim() > 1 and "ffn_gate_inp" not in name
    number, write = WRITERS[matrices if is_matrix else "F32"]
    return StoredTensor(tuple(tensor.shape), number, write(tensor))


def _tokenizer(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    raw = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    added = {token["id"]: token for token in raw["added_tokens"]}
    by_id = {place: text for text, place in raw["model"]["vocab"].items()}
    by_id |= {place: token["content"] for place, token in added.items()}
    types = {place: _CONTROL if _is_control(token) else _USER_DEFINED for place, token in added.items()}
    settings: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": [by_id.get(place, f"[PAD{place}]") for place in range(config["vocab_size"])],
        "tokenizer.ggml.token_type": [
            types.get(place, _NORMAL if place in by_id else _UNUSED) for place in range(config["vocab_size"])
        ],
        "tokenizer.ggml.merges": [
            merge if isinstance(merge, str) else " ".join(merge) for merge in raw["model"]["merges"]
        ],
        "tokenizer.ggml.add_bos_token": False,
    }
    ids = {text: place for place, text in by_id.items()}
    file = folder / "tokenizer_config.json"
    said = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for key, name in (("eos", "eos_token"), ("padding", "pad_token")):
        if said.get(name) in ids:
            settings[f"tokenizer.ggml.{key}_token_id"] = ids[said[name]]
    if "chat_template" in said:
        settings["tokenizer.chat_template"] = said["chat_template"]
    return settings


def _is_control(token: dict[str, Any]) -> bool:
    """llama.cpp's converter takes all tokens for control tokens that look like one."""
    return bool(token["special"]) or (token["content"].startswith("<|") and token["content"].endswith("|>"))


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: object) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<IQ", 10, value) if value >= 2**32 else struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
        case list() if all(isinstance(each, str) for each in value):
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
        case list():
            return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    raise TypeError(value)


def _aligned(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)
