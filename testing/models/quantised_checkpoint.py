"""Writes a checkpoint's products in quantised forms, rounded to the nearest code, as the tools for these formats do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file

from testing.models.tiny_checkpoint import write_tensors

Tensors = dict[str, torch.Tensor]


class Written(NamedTuple):
    """A product in its quantised form, and the weight that the form stands for."""

    tensors: Tensors  # by the last part of their names
    weight: torch.Tensor  # float32 [rows, columns]


def fp8(weight: torch.Tensor) -> Written:
    """FP8 with a scale for each block of 128 rows and columns."""
    rows, columns = weight.shape
    scales = torch.empty(-(-rows // 128), -(-columns // 128))
    codes, value = torch.empty_like(weight, dtype=torch.float8_e4m3fn), torch.empty_like(weight)
    for row in range(scales.shape[0]):
        for column in range(scales.shape[1]):
            block = slice(row * 128, row * 128 + 128), slice(column * 128, column * 128 + 128)
            scales[row, column] = weight[block].abs().max() / 448
            codes[block] = (weight[block] / scales[row, column]).to(torch.float8_e4m3fn)
            value[block] = codes[block].float() * scales[row, column]
    return Written({"weight": codes, "weight_scale_inv": scales}, value)


def w8a8(weight: torch.Tensor) -> Written:
    """Whole numbers of 8 bits with a scale for each row: `int-quantized` of compressed-tensors."""
    scales = weight.abs().amax(1, keepdim=True) / 127
    codes = (weight / scales).round()
    return Written({"weight": codes.to(torch.int8), "weight_scale": scales}, codes * scales)


def w4a16(weight: torch.Tensor) -> Written:
    """4 bits in groups of 32 columns, without zero points: `pack-quantized` of compressed-tensors."""
    codes, zeros, scales = _in_groups(weight, bits=4, symmetric=True)
    tensors = {
        "weight_packed": pack(codes, 4),
        "weight_scale": scales,
        "weight_shape": torch.tensor(weight.shape),
    }
    return Written(tensors, _value(codes, zeros, scales))


def awq(weight: torch.Tensor) -> Written:
    """4 bits in groups of 32 columns, with zero points, eight rows to a word in AWQ's order."""
    codes, zeros, scales = _in_groups(weight, bits=4)
    tensors = {"qweight": pack(_in_awq_order(codes.T), 4), "qzeros": pack(_in_awq_order(zeros.T), 4)}
    return Written(tensors | {"scales": scales.T.half()}, _value(codes, zeros, scales.half().float()))


def gptq4(weight: torch.Tensor) -> Written:
    """Version 1 of GPTQ, with 4 bits."""
    return _gptq(weight, bits=4)


def gptq8(weight: torch.Tensor) -> Written:
    """Version 1 of GPTQ, with 8 bits."""
    return _gptq(weight, bits=8)


def _gptq(weight: torch.Tensor, bits: int) -> Written:
    codes, zeros, scales = _in_groups(weight, bits)
    zeros = zeros.clamp(min=1)  # version 1 stores zero points less 1
    tensors = {
        "qweight": pack(codes, bits).T,
        "qzeros": pack((zeros - 1).T, bits),
        "scales": scales.T,
        "g_idx": torch.arange(weight.shape[1], dtype=torch.int32) // 32,
    }
    return Written(tensors, _value(codes, zeros, scales))


FORMATS: dict[str, tuple[Callable[[torch.Tensor], Written], dict[str, Any]]] = {
    "fp8": (fp8, {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}),
    "w8a8": (w8a8, {"quant_method": "compressed-tensors", "format": "int-quantized"}),
    "w4a16": (w4a16, {"quant_method": "compressed-tensors", "format": "pack-quantized"}),
    "awq": (awq, {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}),
    "gptq4": (gptq4, {"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "gptq"}),
    "gptq8": (gptq8, {"quant_method": "gptq", "bits": 8, "group_size": 32, "checkpoint_format": "gptq"}),
}


def quantise_checkpoint(folder: Path, format: str, *, shards: int = 1) -> Tensors:
    """Quantises the products of the layers in `folder`. Returns the whole checkpoint as a plain one would hold it.

    Embedding, norms and output layer stay as they are, as in the published checkpoints.
    """
    write, settings = FORMATS[format]
    stored: Tensors = {}
    plain: Tensors = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        module, _, part = name.rpartition(".")
        if part == "weight" and module.endswith("_proj"):
            written = write(tensor.float())
            stored |= {f"{module}.{key}": each.contiguous() for key, each in written.tensors.items()}
            plain[name] = written.weight
        else:
            stored[name] = plain[name] = tensor
    if shards > 1:
        (folder / "model.safetensors").unlink()
    write_tensors(folder, stored, shards=shards)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": settings}), encoding="utf-8")
    return plain


def pack(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Packs whole numbers [a, b] into words of 32 bits [a, b * bits / 32], the first one in the low bits."""
    each = codes.long().unflatten(1, (-1, 32 // bits))
    words: torch.Tensor = (each << torch.arange(0, 32, bits)).sum(-1)
    return words.to(torch.int32)


def values_of_groups(groups: torch.Tensor, columns: int) -> torch.Tensor:
    """The values of a weight in 4-bit groups of `model.ops.int4`: float32 [rows, columns]."""
    codes = torch.cat((groups[..., :16] & 15, groups[..., :16] >> 4), dim=-1)
    scales, minima = groups[..., 16:].contiguous().view(torch.float16).float().unbind(-1)
    return (codes * scales.unsqueeze(-1) - minima.unsqueeze(-1)).flatten(1)[:, :columns]


def _in_awq_order(codes: torch.Tensor) -> torch.Tensor:
    """Orders each eight columns as AWQ puts them into a word."""
    each = codes.reshape(len(codes), -1, 8)
    return each[..., [0, 2, 4, 6, 1, 3, 5, 7]].flatten(1)


def _in_groups(
    weight: torch.Tensor, bits: int, symmetric: bool = False
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rounds groups of 32 columns. Returns codes [rows, columns], zero points and scales [rows, groups]."""
    groups, largest = weight.unflatten(1, (-1, 32)), 2**bits - 1
    if symmetric:
        scales = groups.abs().amax(-1) / (largest // 2)
        zeros = torch.full_like(scales, 2 ** (bits - 1))
    else:
        low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
        scales = (high - low) / largest
        zeros = (-low / scales).round()
    codes = (groups / scales.unsqueeze(-1) + zeros.unsqueeze(-1)).round().clamp(0, largest)
    return codes.flatten(1), zeros, scales


def _value(codes: torch.Tensor, zeros: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    groups = codes.reshape(len(codes), -1, 32)
    return ((groups - zeros.unsqueeze(-1)) * scales.unsqueeze(-1)).flatten(1)
