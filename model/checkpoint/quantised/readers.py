"""Which reader decodes a module's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from model.checkpoint.quantised.fp4 import Fp4Product
from model.checkpoint.quantised.gptq import AwqProduct, GptqProduct, GptqV2Product
from model.checkpoint.quantised.packed import PackedProduct
from model.checkpoint.quantised.product import Shape, StoredProduct
from model.checkpoint.quantised.scaled import Fp8Product, ScaledProduct
from model.checkpoint.quantised.settings import WeightFormat

# Tensors that say how to round activations or the KV cache, which this engine leaves unrounded, or that repeat a shape.
UNUSED = frozenset(
    {
        *("input_scale", "input_zero_point", "input_global_scale", "output_scale"),
        *("q_scale", "k_scale", "v_scale", "kv_scale", "weight_shape"),
    }
)

_READERS: dict[WeightFormat, tuple[type[StoredProduct], ...]] = {
    "plain": (),
    "fp8": (Fp8Product, ScaledProduct),
    "awq": (AwqProduct,),
    "gptq": (GptqProduct,),
    "gptq_v2": (GptqV2Product,),
    "compressed-tensors": (PackedProduct, ScaledProduct),
    "gguf": (),  # a file's types say what is quantised: `model.checkpoint.gguf.block_types`
}


class Stored(NamedTuple):
    """What a file says of a tensor."""

    shape: Shape
    dtype: str  # safetensors' name


def stored_product(format: WeightFormat, shape: Shape, found: Mapping[str, Stored]) -> StoredProduct | None:
    """Return how a module's weight is stored. None if it is not quantised.

    Args:
        format: Kind of the checkpoint's quantised weights.
        shape: Shape of the module's weight.
        found: The module's tensors, by the last part of their names.
    """
    shapes = {name: tensor.shape for name, tensor in found.items()}
    for reader in _READERS[format]:
        if reader.MARK in found:
            if reader is PackedProduct and found[reader.MARK].dtype == "U8":
                return Fp4Product.of(shape, shapes)
            return reader.of(shape, shapes)
    return None
