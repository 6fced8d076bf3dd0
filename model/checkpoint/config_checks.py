"""Checks of a `config.json`: unsupported settings are refused, and values must be in range."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.errors import ModelUnusable

ARCHITECTURES = {"qwen3": "Qwen3ForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM"}  # by `model_type`
QWEN3_HINT = "Use a Qwen3: Qwen/Qwen3-0.6B, -1.7B, -4B, -8B, -14B, -32B or -30B-A3B."

MAX_SIZES = {  # maximum values; each comment gives the largest value of all released Qwen3 models
    "vocab_size": 10_000_000,  # 151,936
    "hidden_size": 1_000_000,  # 5,120
    "intermediate_size": 1_000_000,  # 25,600
    "num_hidden_layers": 1_000,  # 64
    "num_attention_heads": 10_000,  # 64
    "num_key_value_heads": 10_000,  # 8
    "head_dim": 10_000,  # 128
    "num_experts": 10_000,  # 160
    "num_local_experts": 10_000,
    "num_experts_per_tok": 10_000,  # 8
    "moe_intermediate_size": 1_000_000,  # 2,560
    "decoder_sparse_step": 1_000,  # 1
    "max_position_embeddings": 100_000_000,  # 262,144
    "original_max_position_embeddings": 100_000_000,  # 262,144
}


def refuse_unsupported(raw: Mapping[str, Any], path: Path) -> None:
    """Raise `ModelUnusable` for the first setting in `raw` that would make the result wrong."""
    _refuse_other_architectures(raw, path)
    _refuse_other_rope(raw, path)
    if raw.get("attention_bias"):
        raise ModelUnusable(f"{path}: attention_bias is true; only attention without biases is supported.", QWEN3_HINT)
    if raw.get("use_sliding_window"):
        raise ModelUnusable(f"{path}: use_sliding_window is true; only full attention is supported.", QWEN3_HINT)
    kinds = raw.get("layer_types") or []
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind != "full_attention":
            raise ModelUnusable(f"{path}: layer type {kind!r:.80} is not supported, only 'full_attention'.", QWEN3_HINT)
    activation = raw.get("hidden_act", "silu")
    if activation != "silu":
        raise ModelUnusable(f"{path}: hidden_act {activation!r:.80} is not supported, only 'silu'.", QWEN3_HINT)


def _refuse_other_architectures(raw: Mapping[str, Any], path: Path) -> None:
    model_type = raw.get("model_type")
    known = " or ".join(map(repr, ARCHITECTURES))
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise ModelUnusable(f"{path}: model_type is {model_type!r:.80}, not {known}.", QWEN3_HINT)
    architectures, expected = raw.get("architectures"), [ARCHITECTURES[model_type]]
    if architectures is not None and architectures != expected:
        raise ModelUnusable(f"{path}: architectures is {architectures!r:.80}, not {expected!r}.", QWEN3_HINT)


def _refuse_other_rope(raw: Mapping[str, Any], path: Path) -> None:
    for spelling in ("rope_parameters", "rope_scaling"):
        rope = raw.get(spelling)
        if rope is None:
            continue
        if not isinstance(rope, dict):
            raise ModelUnusable(f"{path}: {spelling} is {rope!r:.80}; it must be an object or null.")
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind not in ("default", "yarn"):
            raise ModelUnusable(
                f"{path}: rope scaling {kind!r:.80} is not supported, only 'default' and 'yarn'.",
                f"Take {spelling} out of config.json to run within the model's own context.",
            )
        if rope.get("partial_rotary_factor", 1.0) != 1.0:
            raise ModelUnusable(f"{path}: partial_rotary_factor is {rope['partial_rotary_factor']}, not 1.", QWEN3_HINT)


def size(raw: Mapping[str, Any], name: str, path: Path) -> int:
    """Return `raw[name]`, a whole number from 1 to `MAX_SIZES[name]`.

    Raises:
        ModelUnusable: The value is missing or out of range. The message names file, field and value.
    """
    value = _present(raw, name, path)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIZES[name]:
        raise ModelUnusable(
            f"{path}: {name} is {_shown(value)}; it must be a whole number from 1 to {MAX_SIZES[name]:,}.",
            "Download the model again.",
        )
    return value


def positive_number(raw: Mapping[str, Any], name: str, path: Path) -> float:
    """Return `raw[name]`, a finite number above zero.

    Raises:
        ModelUnusable: The value is missing or out of range. The message names file, field and value.
    """
    value = _present(raw, name, path)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        raise ModelUnusable(
            f"{path}: {name} is {_shown(value)}; it must be a number above 0.", "Download the model again."
        )
    return float(value)


def _present(raw: Mapping[str, Any], name: str, path: Path) -> Any:  # noqa: ANN401 — any JSON value
    if name not in raw:
        raise ModelUnusable(f"{path} has no {name}.", "Download the model again.")
    return raw[name]


def _shown(value: object) -> str:
    """Return a value as text for a message. Python refuses to print numbers of thousands of digits."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of about {value.bit_length() * 3 // 10:,} digits"
    return f"{value!r:.80}"
