"""The settings of a mixture of experts (`qwen3_moe`) in a `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.errors import ModelUnusable
from model.checkpoint.config_checks import size

MAX_MLPS = 100_000  # experts of all layers together; the largest of all released Qwen3 models has 12,032
_SPELLINGS = ("num_experts", "num_local_experts")  # the second one is that of transformers 5


@dataclass(frozen=True)
class ExpertsConfig:
    """Which layers have experts, and how a token gets its experts.

    A layer with experts has `count` small MLPs in the place of one. A router chooses `per_token` of them for each token
    and weights their outputs.
    """

    count: int
    per_token: int  # at most `count`
    intermediate_size: int  # of each expert
    normalise: bool  # True if a token's weights are divided by their sum
    layers: tuple[bool, ...]  # for each layer of the model, whether it has experts


def experts_config(raw: Mapping[str, Any], num_layers: int, path: Path) -> ExpertsConfig:
    """Read the settings of experts.

    Raises:
        ModelUnusable: A value is missing or out of range, or two spellings of one setting differ.
    """
    given = {name: size(raw, name, path) for name in _SPELLINGS if raw.get(name) is not None}
    if len(set(given.values())) > 1:
        raise ModelUnusable(f"{path}: {' and '.join(_SPELLINGS)} differ.", "Correct that file.")
    count = next(iter(given.values()), None) or size(raw, _SPELLINGS[0], path)
    if count * num_layers > MAX_MLPS:
        raise ModelUnusable(
            f"{path}: {num_layers:,} layers of {count:,} experts are more than {MAX_MLPS:,} experts.",
            "Download the model again.",
        )
    per_token = size(raw, "num_experts_per_tok", path)
    if per_token > count:
        raise ModelUnusable(
            f"{path}: num_experts_per_tok is {per_token}; it must be at most the number of experts, {count}.",
            "Download the model again.",
        )
    step = size({"decoder_sparse_step": 1} | dict(raw), "decoder_sparse_step", path)
    dense = raw.get("mlp_only_layers") or []
    if not isinstance(dense, list) or not all(type(layer) is int for layer in dense):
        raise ModelUnusable(
            f"{path}: mlp_only_layers is {dense!r:.80}; it must be a list of numbers.", "Correct that file."
        )
    return ExpertsConfig(
        count=count,
        per_token=per_token,
        intermediate_size=size(raw, "moe_intermediate_size", path),
        normalise=bool(raw.get("norm_topk_prob", False)),
        layers=tuple(layer not in dense and (layer + 1) % step == 0 for layer in range(num_layers)),
    )
