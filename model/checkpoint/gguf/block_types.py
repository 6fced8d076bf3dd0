"""The types of tensors in GGUF files: their names, and the sizes of their blocks.

A row of a tensor is a sequence of blocks. A block holds a few values and the scales that they share.
"""

from __future__ import annotations

from typing import NamedTuple

# ggml's numbers of types. Numbers that are missing here belong to types that no file has any more.
_TYPE_NAMES = (
    {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K"}
    | {12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S"}
    | {20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64"}
    | {29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0"}
)
_SUPER_BLOCK = 256  # values in a block of the types with K


class BlockType(NamedTuple):
    """The sizes of a block."""

    values: int
    bytes: int


BLOCK_TYPES = {  # the types that can be read
    "F32": BlockType(1, 4),
    "F16": BlockType(1, 2),
    "BF16": BlockType(1, 2),
    "Q8_0": BlockType(32, 34),
    "Q4_0": BlockType(32, 18),
    "Q4_1": BlockType(32, 20),
    "Q5_0": BlockType(32, 22),
    "Q5_1": BlockType(32, 24),
    "Q4_K": BlockType(_SUPER_BLOCK, 144),
    "Q5_K": BlockType(_SUPER_BLOCK, 176),
    "Q6_K": BlockType(_SUPER_BLOCK, 210),
}


def type_name(number: int) -> str:
    """Return ggml's name of a type."""
    return _TYPE_NAMES.get(number, f"type {number}")
