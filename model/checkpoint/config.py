"""Strict reading of a checkpoint's `config.json`: the error names each field that this model does not support."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from jobs.errors import ModelUnusable
from model.checkpoint.checkpoint_files import is_embedding_model, read_json_object
from model.checkpoint.config_checks import MAX_SIZES, positive_number, refuse_unsupported, size
from model.checkpoint.experts_config import ExpertsConfig, experts_config
from model.checkpoint.quantised.settings import WeightFormat, weight_format

ModelDtype = Literal["float32", "bfloat16"]

DEFAULT_HEAD_DIM = 128  # value of every released Qwen3; it is not hidden_size / num_heads


@dataclass(frozen=True)
class YarnConfig:
    """YaRN's settings, which extend the context of rotary embeddings. Field names are those of `rope_parameters`."""

    factor: float  # extended context divided by original context, at least 1
    original_max_position_embeddings: int  # tokens of context in training
    attention_factor: float | None = None  # scale of cos and sin; None: computed from `factor` or the two mscales
    beta_fast: float = 32.0  # rotations in the original context above which a frequency keeps its value
    beta_slow: float = 1.0  # rotations below which a frequency is divided by `factor`
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True  # round the two bounds to whole dimensions


@dataclass(frozen=True)
class ModelConfig:
    """The sizes and settings of a Qwen3 model."""

    vocab_size: int  # rows of the embedding; may exceed the tokenizer's size
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int  # query heads
    num_kv_heads: int  # divides num_heads
    head_dim: int  # even; independent of hidden_size / num_heads
    rms_norm_eps: float
    rope_theta: float
    yarn: YarnConfig | None
    max_position_embeddings: int  # tokens of context; with YaRN at least factor * original context
    tie_word_embeddings: bool  # True if the output layer is the embedding
    dtype: ModelDtype  # type in which to run the checkpoint
    has_output_layer: bool = True  # False for an embedding model, which computes no logits
    experts: ExpertsConfig | None = None  # None for a dense model
    weight_format: WeightFormat = "plain"  # kind of the checkpoint's quantised weights, which are decoded at the start

    @classmethod
    def from_folder(cls, folder: Path | str) -> Self:
        """Read `config.json` with the field names of transformers 4 or 5. Another file marks an embedding model.

        A float16 checkpoint runs in bfloat16. Only bfloat16 can hold Qwen3's largest activations, and processors have
        instructions for it. A config without a dtype runs in float32, which loses nothing.

        Raises:
            ModelUnusable: The file is not readable, the architecture is not supported, or a value is out of range.
                Features that would change the result are refused, too: sliding windows, biases, other kinds of rope
                scaling, and quantised weights that cannot be decoded.
        """
        path = Path(folder) / "config.json"
        raw = read_json_object(path)
        refuse_unsupported(raw, path)
        rope = _rope_parameters(raw)
        max_positions = size(raw, "max_position_embeddings", path)
        yarn = _yarn(rope, max_positions, path)
        if yarn is not None:
            max_positions = _stretched(max_positions, yarn, path)
        num_layers = size(raw, "num_hidden_layers", path)
        config = cls(
            vocab_size=size(raw, "vocab_size", path),
            hidden_size=size(raw, "hidden_size", path),
            intermediate_size=size(raw, "intermediate_size", path),
            num_layers=num_layers,
            num_heads=size(raw, "num_attention_heads", path),
            num_kv_heads=size(raw, "num_key_value_heads", path),
            head_dim=size({"head_dim": DEFAULT_HEAD_DIM} | dict(raw), "head_dim", path),
            rms_norm_eps=positive_number({"rms_norm_eps": 1e-6} | dict(raw), "rms_norm_eps", path),
            rope_theta=positive_number(rope, "rope_theta", path),
            yarn=yarn,
            max_position_embeddings=max_positions,
            tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
            dtype=_dtype(raw, path),
            has_output_layer=not is_embedding_model(path.parent),
            experts=experts_config(raw, num_layers, path) if raw["model_type"] == "qwen3_moe" else None,
            weight_format=weight_format(raw, path),
        )
        config.check_heads(path)
        return config

    def has_experts(self, layer: int) -> bool:
        """Return whether the layer of this number, from 0, is a mixture of experts."""
        return self.experts is not None and self.experts.layers[layer]

    def check_heads(self, path: Path) -> None:
        """Raise `ModelUnusable` if the numbers or sizes of heads are not consistent."""
        if self.num_heads % self.num_kv_heads:
            raise ModelUnusable(
                f"{path}: num_attention_heads {self.num_heads} is not a multiple of num_key_value_heads "
                f"{self.num_kv_heads}.",
                "Download the model again.",
            )
        if self.head_dim % 2:
            raise ModelUnusable(
                f"{path}: head_dim {self.head_dim} is odd; it must be even.", "Download the model again."
            )


def _rope_parameters(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rotary settings under transformers 5's names, for files of both versions."""
    settings = dict(raw.get("rope_parameters") or raw.get("rope_scaling") or {})
    if "rope_theta" not in settings and "rope_theta" in raw:
        settings["rope_theta"] = raw["rope_theta"]
    return settings


def _yarn(rope: Mapping[str, Any], max_positions: int, path: Path) -> YarnConfig | None:
    if rope.get("rope_type", rope.get("type")) != "yarn":
        return None
    rope = {key: value for key, value in rope.items() if value is not None}
    original = size(
        {"original_max_position_embeddings": max_positions} | rope, "original_max_position_embeddings", path
    )
    factor = positive_number({"factor": max_positions / original} | rope, "factor", path)
    if factor < 1:
        raise ModelUnusable(f"{path}: YaRN's factor is {factor}; it must be at least 1.", "Correct that file.")
    optional = {
        name: positive_number(rope, name, path) if name in rope else None
        for name in ("attention_factor", "mscale", "mscale_all_dim")
    }
    return YarnConfig(
        factor=factor,
        original_max_position_embeddings=original,
        beta_fast=positive_number({"beta_fast": 32.0} | rope, "beta_fast", path),
        beta_slow=positive_number({"beta_slow": 1.0} | rope, "beta_slow", path),
        truncate=bool(rope.get("truncate", True)),
        **optional,
    )


def _stretched(max_positions: int, yarn: YarnConfig, path: Path) -> int:
    """Return the tokens of context with YaRN. Raises `ModelUnusable` if there are too many."""
    stretched = yarn.factor * yarn.original_max_position_embeddings  # the product may be infinite
    limit = MAX_SIZES["max_position_embeddings"]
    if stretched > limit:
        raise ModelUnusable(
            f"{path}: YaRN's factor {yarn.factor:g} gives a context beyond {limit:,} tokens.",
            "Use a smaller factor in that file.",
        )
    return max(max_positions, int(stretched))


def _dtype(raw: Mapping[str, Any], path: Path) -> ModelDtype:
    name = raw.get("dtype") or raw.get("torch_dtype") or "float32"
    known: dict[str, ModelDtype] = {"float32": "float32", "bfloat16": "bfloat16", "float16": "bfloat16"}
    if not isinstance(name, str) or name not in known:
        raise ModelUnusable(
            f"{path}: dtype {name!r:.80} is not supported; it must be one of {', '.join(known)}.",
            "Use another checkpoint of the same model.",
        )
    return known[name]
