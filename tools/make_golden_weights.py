"""Makes the files of tests/model/checkpoint/quantised/golden: quantised weights, and what other programs make of them.

    python -m tools.make_golden_weights

A file holds the tensors of one product with random codes and scales, and `value`: the weight as the format's own
program decodes it. It needs `pip install compressed-tensors gptqmodel transformers accelerate`, which the tests do not.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]
GOLDEN = Path(__file__).parents[1] / "tests" / "model" / "checkpoint" / "quantised" / "golden"
ROWS, COLUMNS = 16, 256
RAGGED = (136, 160)  # no multiples of the block of 128

random = torch.Generator().manual_seed(1)


def main() -> None:
    """Write all files."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for scale_dtype in (torch.bfloat16, torch.float16, torch.float32):
        write(f"fp8-{str(scale_dtype).removeprefix('torch.')}", "fp8", *fp8_blocks(scale_dtype))
    for name, arguments in COMPRESSED.items():
        write(name, "compressed-tensors", *compressed(**arguments))
    write("awq", "awq", *awq(group=64))
    for bits in (4, 8):
        for version_of_format in (1, 2):
            label = "gptq" if version_of_format == 1 else "gptq_v2"
            write(f"{label}-{bits}", label, *gptq(bits, version_of_format, act_order=False))
    write("gptq-act-order", "gptq", *gptq(4, 1, act_order=True))


def write(name: str, weight_format: str, tensors: Tensors, value: torch.Tensor, program: str) -> None:
    """Write one file. Its metadata name the format, and the program that made `value`."""
    metadata = {"weight_format": weight_format, "value_by": f"{program} {version(program)}"}
    contiguous = {key: tensor.contiguous() for key, tensor in (tensors | {"value": value}).items()}
    save_file(contiguous, GOLDEN / f"{name}.safetensors", metadata=metadata)


def words(*shape: int) -> torch.Tensor:
    """Return words of 32 random bits."""
    return torch.randint(-(2**31), 2**31, shape, generator=random, dtype=torch.int64).to(torch.int32)


def scales(*shape: int) -> torch.Tensor:
    """Return random scales between 0.001 and 0.011."""
    return torch.rand(shape, generator=random) * 0.01 + 0.001


def fp8_codes(*shape: int) -> torch.Tensor:
    """Return random finite numbers of 8 bits."""
    codes = torch.randint(0, 256, shape, generator=random, dtype=torch.int64).to(torch.uint8)
    codes[codes & 127 == 127] = 0  # the others are no numbers
    return codes.view(torch.float8_e4m3fn)


def fp8_blocks(scale_dtype: torch.dtype) -> tuple[Tensors, torch.Tensor, str]:
    """FP8 with a scale for each block, as in Qwen's own checkpoints. The value is rounded to bfloat16.

    transformers takes blocks of other sizes if 128 does not divide the weight's, so here 128 does.
    """
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    weight = fp8_codes(128, 256)
    scale = scales(1, 2).to(scale_dtype)
    value = Fp8Dequantize(None)._dequantize_one(weight, scale, torch.bfloat16)  # noqa: SLF001 - it has no other door
    return {"weight": weight, "weight_scale_inv": scale}, value, "transformers"


COMPRESSED: dict[str, dict[str, Any]] = {
    "packed-4-group": {"format": "pack-quantized", "num_bits": 4, "strategy": "group", "group_size": 32},
    "packed-4-zeros": {
        "format": "pack-quantized",
        "num_bits": 4,
        "strategy": "group",
        "group_size": 128,
        "symmetric": False,
    },
    "packed-8-row": {"format": "pack-quantized", "num_bits": 8, "strategy": "channel"},
    "int8-row": {"format": "int-quantized", "num_bits": 8, "strategy": "channel"},
    "int8-zeros": {"format": "int-quantized", "num_bits": 8, "strategy": "channel", "symmetric": False},
    "int8-weight": {"format": "int-quantized", "num_bits": 8, "strategy": "tensor"},
    "fp8-row": {"format": "float-quantized", "num_bits": 8, "type": "float", "strategy": "channel"},
    "fp8-weight": {"format": "float-quantized", "num_bits": 8, "type": "float", "strategy": "tensor"},
    "fp8-ragged-blocks": {
        "format": "float-quantized",
        "num_bits": 8,
        "type": "float",
        "strategy": "block",
        "block_structure": [128, 128],
    },
    "nvfp4": {
        "format": "nvfp4-pack-quantized",
        "num_bits": 4,
        "type": "float",
        "strategy": "tensor_group",
        "group_size": 16,
    },
    "mxfp4": {
        "format": "mxfp4-pack-quantized",
        "num_bits": 4,
        "type": "float",
        "strategy": "group",
        "group_size": 32,
        "scale_dtype": torch.uint8,
    },
}


def compressed(format: str, symmetric: bool = True, **weights: Any) -> tuple[Tensors, torch.Tensor, str]:  # noqa: ANN401
    """A format of compressed-tensors: a random weight, rounded, packed and decoded by its own compressor."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(symmetric=symmetric, **weights))
    compressor = BaseCompressor.get_value_from_registry(format)
    group = weights.get("group_size") or COLUMNS
    size = (ROWS, COLUMNS)
    shape: tuple[int, ...] = (ROWS, COLUMNS // group)
    if weights["strategy"] == "tensor":
        shape = (1,)
    if weights["strategy"] == "block":
        size, shape = RAGGED, (2, 2)
    scale = scales(*shape)
    state = {"weight": torch.randn(size, generator=random) * 0.05, "weight_scale": scale}
    if format == "nvfp4-pack-quantized":
        state["weight_global_scale"] = torch.tensor([173.0])
        state["weight_scale"] = (scale * 173).to(torch.float8_e4m3fn).float()
    if format == "mxfp4-pack-quantized":
        state["weight_scale"] = torch.exp2(torch.randint(-9, -3, shape, generator=random).float())
    if not symmetric:
        bound = 2 ** (weights["num_bits"] - 1)
        state["weight_zero_point"] = torch.randint(-bound, bound, shape, generator=random).to(torch.int8)
    tensors = compressor.compress(state, scheme)
    if format == "nvfp4-pack-quantized":
        return tensors, nvfp4_value(tensors, scheme.weights), "compressed-tensors"
    return tensors, compressor.decompress(dict(tensors), scheme)["weight"].float(), "compressed-tensors"


def nvfp4_value(tensors: Tensors, weights: Any) -> torch.Tensor:  # noqa: ANN401 - a type of compressed-tensors
    """Return the value in float32. The compressor itself computes it in bfloat16."""
    from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
    from compressed_tensors.quantization.lifecycle.forward import dequantize

    codes = unpack_fp4_from_uint8(tensors["weight_packed"], ROWS, COLUMNS, dtype=torch.float32)
    value: torch.Tensor = dequantize(
        x_q=codes,
        scale=tensors["weight_scale"].float(),
        args=weights,
        global_scale=tensors["weight_global_scale"],
        dtype=torch.float32,
    )
    return value


def awq(group: int) -> tuple[Tensors, torch.Tensor, str]:
    """AWQ, decoded by the converter of compressed-tensors."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.entrypoints.convert import AutoAWQConverter
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    groups = COLUMNS // group
    tensors = {
        "qweight": words(COLUMNS, ROWS // 8),
        "qzeros": words(groups, ROWS // 8),
        "scales": scales(groups, ROWS).half(),
    }
    named = {f"model.layers.0.mlp.up_proj.{name}": tensor for name, tensor in tensors.items()}
    converted = AutoAWQConverter(group_size=group).process(named)
    converted = {name.rpartition(".")[2]: tensor for name, tensor in converted.items()}
    converted["weight_scale"] = converted["weight_scale"].float()
    weights = QuantizationArgs(num_bits=4, strategy="group", group_size=group, symmetric=False)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    value = BaseCompressor.get_value_from_registry("pack-quantized").decompress(converted, scheme)["weight"]
    return tensors, value.float(), "compressed-tensors"


def gptq(bits: int, version_of_format: int, act_order: bool) -> tuple[Tensors, torch.Tensor, str]:
    """GPTQ with groups of 64, decoded by GPTQModel's module for PyTorch. Zero points take all values."""
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module

    groups = COLUMNS // 64
    group_of = torch.arange(COLUMNS, dtype=torch.int32) // 64
    if act_order:
        group_of = group_of[torch.randperm(COLUMNS, generator=random)]
    tensors = {
        "qweight": words(COLUMNS * bits // 32, ROWS),
        "qzeros": words(groups, ROWS * bits // 32),
        "scales": scales(groups, ROWS).half(),
        "g_idx": group_of,
    }
    module = TorchLinear(
        bits=bits, group_size=64, desc_act=act_order, sym=False, in_features=COLUMNS, out_features=ROWS, bias=False
    )
    for name, tensor in tensors.items():
        setattr(module, name, tensor.clone())
    module.scales = module.scales.float()
    if version_of_format == 1:
        convert_gptq_v1_to_v2_format_module(module, bits=bits, pack_dtype=torch.int32)
    value = module.dequantize_weight().T.float()
    return tensors, value, "gptqmodel"


if __name__ == "__main__":
    main()
