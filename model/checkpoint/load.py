"""Loading a checkpoint's tensors into the model's weights: fused, converted and packed one by one.

At most one weight exists both unpacked and packed at a time, so peak memory stays near the size of all weights.
"""

from __future__ import annotations

from pathlib import Path

import torch

from jobs.errors import ModelUnusable
from model.checkpoint.config import ModelConfig
from model.checkpoint.experts_config import ExpertsConfig
from model.checkpoint.weights import Checkpoint
from model.layer_weights import ExpertWeights, LayerShape, LayerWeights, MlpWeights, ModelWeights
from model.ops.int4 import empty_groups, write_groups
from model.ops.linear import Quantization, pack_quantised, pack_weight, quantised
from model.ops.packed_weight import has_readable_rows
from model.sampling.output_screen import OutputScreen

EMBEDDING = "model.embed_tokens.weight"
FINAL_NORM = "model.norm.weight"
LM_HEAD = "lm_head.weight"
ROUTER = "mlp.gate.weight"  # in a layer with experts


def load_model_weights(
    folder: Path,
    config: ModelConfig,
    *,
    dtype: torch.dtype,
    device: torch.device,
    vocab_limit: int | None,
    quantize: Quantization,
) -> ModelWeights:
    """Load all weights in `folder`. Arguments and errors are those of `Qwen3ForCausalLM.from_folder`.

    An embedding model has no output layer: no layer is read, even if the checkpoint holds one.
    """
    valid_vocab = _valid_vocab(config, vocab_limit)
    checkpoint = Checkpoint(folder, config.weight_format)
    needs_lm_head = config.has_output_layer and not config.tie_word_embeddings
    checkpoint.check(expected_shapes(config), optional=[] if needs_lm_head else [LM_HEAD])
    read = _Reader(checkpoint, dtype, device, quantize)
    embedding = read.tensor(EMBEDDING)
    lm_head, screen = _output_layer(read, config, embedding, valid_vocab) if config.has_output_layer else (None, None)
    if config.tie_word_embeddings and lm_head is not None and has_readable_rows(lm_head):
        embedding = lm_head  # embedding and output layer share one copy in memory
    layers = [_layer(read, config, index) for index in range(config.num_layers)]
    final_norm = read.tensor(FINAL_NORM)
    checkpoint.close()
    return ModelWeights(
        embedding=embedding,
        layers=layers,
        final_norm=final_norm,
        lm_head=lm_head,
        valid_vocab=valid_vocab,
        screen=screen,
    )


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that a checkpoint of this configuration may hold, by transformers' names."""
    hidden, head_dim = config.hidden_size, config.head_dim
    q_size, kv_size = config.num_heads * head_dim, config.num_kv_heads * head_dim
    attention = {
        "input_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (q_size, hidden),
        "self_attn.k_proj.weight": (kv_size, hidden),
        "self_attn.v_proj.weight": (kv_size, hidden),
        "self_attn.q_norm.weight": (head_dim,),
        "self_attn.k_norm.weight": (head_dim,),
        "self_attn.o_proj.weight": (hidden, q_size),
        "post_attention_layernorm.weight": (hidden,),
    }
    dense, experts = _mlp_shapes("mlp.", hidden, config.intermediate_size), _experts_shapes(config)
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (config.vocab_size, hidden)}
    for index in range(config.num_layers):
        layer = attention | (experts if config.has_experts(index) else dense)
        shapes |= {f"model.layers.{index}.{name}": shape for name, shape in layer.items()}
    return shapes | {FINAL_NORM: (hidden,), LM_HEAD: (config.vocab_size, hidden)}


def _experts_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    experts = config.experts
    if experts is None:
        return {}
    shapes: dict[str, tuple[int, ...]] = {ROUTER: (experts.count, config.hidden_size)}
    for index in range(experts.count):
        shapes |= _mlp_shapes(f"mlp.experts.{index}.", config.hidden_size, experts.intermediate_size)
    return shapes


def _mlp_shapes(prefix: str, hidden: int, intermediate: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{prefix}gate_proj.weight": (intermediate, hidden),
        f"{prefix}up_proj.weight": (intermediate, hidden),
        f"{prefix}down_proj.weight": (hidden, intermediate),
    }


class _Reader:
    """Reads tensors, converts them and puts them on their device."""

    def __init__(
        self, checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device, quantize: Quantization
    ) -> None:
        self._checkpoint = checkpoint
        self.quantize: Quantization = quantize
        self._dtype = dtype
        self._device = device

    def tensor(self, name: str) -> torch.Tensor:
        return self._stacked(name)

    def product(self, *names: str) -> torch.Tensor:
        """Read the weights `names`, stack their rows, and pack them as one weight."""
        if self.quantize == "int4":
            return pack_quantised(self._groups(*names))
        return pack_weight(self._stacked(*names), self.quantize)

    def router(self, name: str) -> torch.Tensor:
        """Read the weight of a router. It stays in float32, so that experts hardly ever tie."""
        return self._stacked(name, dtype=torch.float32)

    def _groups(self, *names: str) -> torch.Tensor:
        """Return the stacked weights in groups of 4 bits. A weight that has 4 bits in the file keeps its codes."""
        shapes = [self._checkpoint.shape(name) for name in names]
        groups = empty_groups(sum(rows for rows, _ in shapes), shapes[0][1])
        for name, part in zip(names, torch.split(groups, [rows for rows, _ in shapes]), strict=True):
            stored = self._checkpoint.four_bits(name)
            if stored is None:
                part.copy_(quantised(self._stacked(name), "int4"))
            else:
                write_groups(stored, part)
        return groups

    def _stacked(self, *names: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        shapes = [self._checkpoint.shape(name) for name in names]
        heights = [shape[0] for shape in shapes]
        stacked = torch.empty(sum(heights), *shapes[0][1:], dtype=dtype or self._dtype, device=self._device)
        for name, part in zip(names, torch.split(stacked, heights), strict=True):
            self._checkpoint.read_into(name, part)
        return stacked


def _layer(read: _Reader, config: ModelConfig, index: int) -> LayerWeights:
    prefix = f"model.layers.{index}."
    attention = prefix + "self_attn."
    return LayerWeights(
        shape=LayerShape.of(config, index),
        input_norm=read.tensor(prefix + "input_layernorm.weight"),
        qkv=read.product(*(f"{attention}{name}_proj.weight" for name in "qkv")),
        q_norm=read.tensor(attention + "q_norm.weight"),
        k_norm=read.tensor(attention + "k_norm.weight"),
        o=read.product(attention + "o_proj.weight"),
        post_norm=read.tensor(prefix + "post_attention_layernorm.weight"),
        mlp=_experts(read, config.experts, prefix) if config.has_experts(index) else _mlp(read, prefix + "mlp."),
    )


def _mlp(read: _Reader, prefix: str) -> MlpWeights:
    return MlpWeights(
        gate_up=read.product(prefix + "gate_proj.weight", prefix + "up_proj.weight"),
        down=read.product(prefix + "down_proj.weight"),
    )


def _experts(read: _Reader, experts: ExpertsConfig | None, prefix: str) -> ExpertWeights:
    count = 0 if experts is None else experts.count
    mlps = [_mlp(read, f"{prefix}mlp.experts.{index}.") for index in range(count)]
    return ExpertWeights(
        router=read.router(prefix + ROUTER), gate_up=[mlp.gate_up for mlp in mlps], down=[mlp.down for mlp in mlps]
    )


def _output_layer(
    read: _Reader, config: ModelConfig, embedding: torch.Tensor, valid_vocab: int
) -> tuple[torch.Tensor, OutputScreen | None]:
    """Return the packed output layer without its padding rows, and its screen if it can have one.

    Only the configuration decides if the layer is tied, as in transformers. A tied checkpoint may still hold
    `lm_head.weight`; it is ignored.
    """
    head = (embedding if config.tie_word_embeddings else read.tensor(LM_HEAD))[:valid_vocab]
    packed = pack_weight(head, quantization_of_output(read.quantize))
    return packed, OutputScreen.of(head, packed)


def quantization_of_output(quantize: Quantization) -> Quantization:
    """Return the quantisation of the output layer. It keeps 8 bits, because its errors show in the choice of tokens."""
    return "int8" if quantize == "int4" else quantize


def _valid_vocab(config: ModelConfig, vocab_limit: int | None) -> int:
    if vocab_limit is None:
        return config.vocab_size
    if not config.has_output_layer:
        # The embedding may lack rows for the tokenizer's last tokens. A worker refuses texts with these tokens.
        return min(vocab_limit, config.vocab_size)
    if not 1 <= vocab_limit <= config.vocab_size:
        raise ModelUnusable(
            f"The tokenizer has {vocab_limit} ids, but the model has only {config.vocab_size}.",
            "Tokenizer and weights come from different models. Download the model again.",
        )
    return vocab_limit
