"""The settings in a GGUF file's header, under transformers' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.errors import ModelUnusable
from model.checkpoint.config_checks import ARCHITECTURES
from model.checkpoint.gguf.header import DAMAGED, GgufHeader, Value

_MODEL_TYPES = {"qwen3": "qwen3", "qwen3moe": "qwen3_moe"}  # llama.cpp's names and transformers'
_EMBEDDING = "token_embd.weight"
_OUTPUT_LAYER = "output.weight"
_FLOATS = ("F32", "F16", "BF16")
_LAST_TOKEN, _RANK = 3, 4  # kinds of pooling: llama.cpp's `llama_pooling_type`
_SIZES = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
}
_SIZES_OF_EXPERTS = {
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
}
_SAMPLING = {"temperature": "temp", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p"}
_END_TOKENS = ("<|im_end|>", "<|endoftext|>")  # a file names only one of them as its end


class GgufSettings:
    """Reads settings of a file's header.

    Raises:
        ModelUnusable: The constructor: the model is of another architecture.
    """

    def __init__(self, header: GgufHeader, name: str) -> None:
        """`name` is the file's name, for messages."""
        self._values = header.settings
        self._tensors = {tensor.name: tensor for tensor in header.tensors}
        self._name = name
        self._architecture = self.text("general.architecture")
        if self._architecture not in _MODEL_TYPES:
            raise ModelUnusable(
                f"{name} holds a model of the architecture {self._architecture!r:.80}; only "
                f"{' and '.join(map(repr, _MODEL_TYPES))} are supported.",
                "Name a GGUF file of a Qwen3 model.",
            )

    def text(self, key: str) -> str:
        """Return a text that the file must have."""
        value = self.required(key)
        if not isinstance(value, str):
            raise ModelUnusable(f"{self._name}: {key} is {value!r:.80}; it must be a text.", DAMAGED)
        return value

    def optional(self, key: str) -> Value | None:
        """Return a value, or None if the file has none under this key. Floats have six digits, as people wrote them."""
        value = self._values.get(key)
        return float(f"{value:.6g}") if isinstance(value, float) else value

    def required(self, key: str) -> Value:
        """Return a value. Raises `ModelUnusable` if the file has none under this key."""
        value = self.optional(key)
        if value is None:
            raise ModelUnusable(f"{self._name} has no setting {key}.", DAMAGED)
        return value

    def config(self) -> dict[str, Any]:
        """Return what a `config.json` of this model says. `ModelConfig` checks the values."""
        model_type = _MODEL_TYPES[self._architecture]
        embedding = self._tensors.get(_EMBEDDING)
        if embedding is None:
            raise ModelUnusable(f"{self._name} has no tensor {_EMBEDDING}.", DAMAGED)
        config: dict[str, Any] = {
            "model_type": model_type,
            "architectures": [ARCHITECTURES[model_type]],
            "vocab_size": embedding.shape[0],
            "tie_word_embeddings": _OUTPUT_LAYER not in self._tensors,
            "dtype": "float32" if all(tensor.dtype == "F32" for tensor in self._tensors.values()) else "bfloat16",
            **{name: self.required(f"{self._architecture}.{key}") for name, key in _SIZES.items()},
            "rope_scaling": self._rope_scaling(),
        }
        if any(tensor.dtype not in _FLOATS for tensor in self._tensors.values()):
            config["quantization_config"] = {"quant_method": "gguf"}
        return config | (self._experts(config["num_hidden_layers"]) if model_type == "qwen3_moe" else {})

    def generation_config(self, token_ids: Mapping[str, int]) -> dict[str, Any]:
        """Return what a `generation_config.json` says: the ids that end a completion, and settings of sampling.

        Args:
            token_ids: All tokens.
        """
        named = self.optional("tokenizer.ggml.eos_token_id")
        ends = [*([] if named is None else [named]), *(token_ids[end] for end in _END_TOKENS if end in token_ids)]
        sampling = {name: self.optional(f"general.sampling.{key}") for name, key in _SAMPLING.items()}
        said = {name: value for name, value in sampling.items() if value is not None}
        return {"eos_token_id": list(dict.fromkeys(ends))} | said | ({"do_sample": True} if said else {})

    def pools(self) -> bool:
        """Return whether the model makes embeddings.

        Raises:
            ModelUnusable: It makes them in another way than from the last token.
        """
        kind = self.optional(f"{self._architecture}.pooling_type")
        if kind not in (None, 0, _LAST_TOKEN):
            what = (
                "a model that ranks texts" if kind == _RANK else f"an embedding model with pooling of type {kind!r:.20}"
            )
            raise ModelUnusable(
                f"{self._name} is {what}, which is not supported as a GGUF file.",
                "Use the safetensors checkpoint of a Qwen3-Embedding or Qwen3-Reranker model.",
            )
        return kind == _LAST_TOKEN

    def _rope_scaling(self) -> dict[str, Any] | None:
        prefix = f"{self._architecture}.rope.scaling."
        kind = self.optional(prefix + "type")
        if kind in (None, "none"):
            return None
        names = {"factor": "factor", "original_max_position_embeddings": "original_context_length"}
        said = {name: self.optional(prefix + key) for name, key in names.items()}
        return {"rope_type": kind} | {name: value for name, value in said.items() if value is not None}

    def _experts(self, num_layers: object) -> dict[str, Any]:
        """Return the settings of experts. A file does not say that weights are normalised, but for Qwen3's they are."""
        layers = range(num_layers if isinstance(num_layers, int) and num_layers < 10_000 else 0)
        return {
            **{name: self.required(f"{self._architecture}.{key}") for name, key in _SIZES_OF_EXPERTS.items()},
            "norm_topk_prob": True,
            "mlp_only_layers": [layer for layer in layers if f"blk.{layer}.ffn_gate_inp.weight" not in self._tensors],
        }
