"""The weights of GGUF files, by the names that transformers gives them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from jobs.errors import ModelUnusable
from model.checkpoint.gguf.block_types import BLOCK_TYPES
from model.checkpoint.gguf.blocks import FOUR_BITS, decode, four_bits
from model.checkpoint.gguf.header import DAMAGED, GgufTensor, read_header
from model.ops.int4 import Groups

_VALUES_AT_ONCE = 1 << 18  # values that are decoded at once: their float32 values then stay in the processor's caches
_UNUSED = "rope_freqs.weight"  # factors of rotary frequencies, which no Qwen3 needs

_OF_MODEL = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_OF_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "mlp.gate",
}
_OF_EXPERTS = {"ffn_gate_exps": "gate_proj", "ffn_up_exps": "up_proj", "ffn_down_exps": "down_proj"}
_LAYER = re.compile(r"blk\.(?P<layer>\d{1,6})\.(?P<part>\w+)\.weight")


def weights_of(path: Path) -> Iterator[tuple[str, GgufTensor]]:
    """Yield the weights of a file with transformers' names. Tensors without such a name keep their own.

    Weights of the experts of a layer are stored as one tensor [experts, rows, columns]. Each expert is yielded alone.

    Raises:
        ModelUnusable: The file is damaged.
    """
    for tensor in read_header(path).tensors:
        layer = _LAYER.fullmatch(tensor.name)
        if layer and layer["part"] in _OF_EXPERTS and len(tensor.shape) == 3:
            prefix = f"model.layers.{layer['layer']}.mlp.experts."
            for number, expert in enumerate(_experts(tensor)):
                yield f"{prefix}{number}.{_OF_EXPERTS[layer['part']]}.weight", expert
        elif layer and layer["part"] in _OF_LAYER:
            yield f"model.layers.{layer['layer']}.{_OF_LAYER[layer['part']]}.weight", tensor
        elif tensor.name != _UNUSED:
            yield _OF_MODEL.get(tensor.name, tensor.name), tensor


def read_into(tensor: GgufTensor, target: torch.Tensor) -> None:
    """Decode a tensor in float32 and write it to `target` of the same shape, rounded once to the dtype of `target`.

    Raises:
        ModelUnusable: The file cannot be read to the tensor's end.
    """
    block, rows = BLOCK_TYPES[tensor.dtype], target.view(tensor.rows, tensor.shape[-1])
    first = 0
    for stored in _read(tensor):
        part = rows[first : first + len(stored)]
        part.copy_(decode(tensor.dtype, stored.view(-1, block.bytes)).view(part.shape))
        first += len(stored)


def read_four_bits(tensor: GgufTensor) -> Groups | None:
    """Return the codes of a tensor in groups of 32, or None if it has another type than those with 4 bits.

    Raises:
        ModelUnusable: The file cannot be read to the tensor's end.
    """
    if tensor.dtype not in FOUR_BITS:
        return None
    block, rows = BLOCK_TYPES[tensor.dtype], tensor.shape[0]
    groups = [four_bits(tensor.dtype, blocks.view(-1, block.bytes)) for blocks in _read(tensor)]
    return Groups(*(torch.cat(parts).view(rows, -1) for parts in zip(*groups, strict=True)))


def _read(tensor: GgufTensor) -> Iterator[torch.Tensor]:
    """Yield the bytes of a tensor, some rows at a time: [rows, bytes of a row]."""
    at_once = max(1, _VALUES_AT_ONCE // tensor.shape[-1])
    try:
        with tensor.path.open("rb", buffering=0) as file:
            file.seek(tensor.offset)
            for first in range(0, tensor.rows, at_once):
                rows = min(at_once, tensor.rows - first)
                stored = bytearray(rows * tensor.row_bytes)
                if file.readinto(stored) != len(stored):
                    raise ModelUnusable(f"{tensor.path} ends in the middle of {tensor.name}.", DAMAGED)
                yield torch.frombuffer(stored, dtype=torch.uint8).view(rows, -1)
    except OSError as error:
        raise ModelUnusable(f"{tensor.path} cannot be read: {error}.", DAMAGED) from error


def _experts(stack: GgufTensor) -> Iterator[GgufTensor]:
    count, rows, columns = stack.shape
    block = BLOCK_TYPES.get(stack.dtype)
    step = rows * (columns // block.values * block.bytes) if block else 0
    for number in range(count):
        yield replace(stack, shape=(rows, columns), offset=stack.offset + number * step)
