"""How the blocks of a GGUF file's tensors become float32 values.

The arithmetic is that of ggml, in float32 and in the same order, so the values are the same bit by bit. Sources:
`ggml-quants.c` and `gguf-py` of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from model.ops.int4 import Groups

FOUR_BITS = ("Q4_0", "Q4_1", "Q4_K")  # types whose codes 4-bit products can use as they are

Decode = Callable[[torch.Tensor], torch.Tensor]


def decode(dtype: str, blocks: torch.Tensor) -> torch.Tensor:
    """Return the values of blocks.

    Args:
        dtype: A key of `BLOCK_TYPES`.
        blocks: uint8 [blocks, bytes of a block], contiguous.

    Returns:
        float32 [blocks, values of a block].
    """
    return _DECODERS[dtype](blocks)


def four_bits(dtype: str, blocks: torch.Tensor) -> Groups:
    """Return the codes of blocks with 4 bits, in groups of 32. A value is `code * scale - minimum`.

    Args:
        dtype: One of `FOUR_BITS`.
        blocks: uint8 [blocks, bytes of a block], contiguous.
    """
    if dtype == "Q4_K":
        return Groups(_halves_of_bytes(blocks[:, 16:], 32), *_scales_and_minima(blocks))
    scale = _half(blocks, 0)
    if dtype == "Q4_1":
        return Groups(_halves_of_bytes(blocks[:, 4:], 16), scale, -_half(blocks, 2))
    return Groups(_halves_of_bytes(blocks[:, 2:], 16), scale, 8 * scale)


def _floats(dtype: torch.dtype) -> Decode:
    return lambda blocks: blocks.view(dtype).float()


def _half(blocks: torch.Tensor, place: int) -> torch.Tensor:
    """Return the float16 number at byte `place` of each block, as float32 [number, 1]."""
    return blocks[:, place : place + 2].clone().view(torch.float16).float()


def _halves_of_bytes(packed: torch.Tensor, run: int) -> torch.Tensor:
    """Return the low halves of each `run` bytes, and then their high halves: [number, b] gives [number, 2 b]."""
    runs = packed.view(len(packed), -1, 1, run)
    return torch.cat((runs & 15, runs >> 4), dim=2).flatten(1)


def _bits_of_bytes(packed: torch.Tensor, bits: int, run: int) -> torch.Tensor:
    """Return the lowest `bits` of each `run` bytes, then the next ones: [number, b] gives [number, b * 8 / bits]."""
    runs = packed.view(len(packed), -1, 1, run)
    return torch.cat([runs >> shift & 2**bits - 1 for shift in range(0, 8, bits)], dim=2).flatten(1)


def _fifth_bits(blocks: torch.Tensor, place: int) -> torch.Tensor:
    """Return 16 times the bits of 4 bytes from the byte `place` on: [number, 32]."""
    places = torch.arange(8, dtype=torch.uint8)
    return (blocks[:, place : place + 4].unsqueeze(-1) >> places & 1).flatten(1) << 4


def _q8_0(blocks: torch.Tensor) -> torch.Tensor:
    return blocks[:, 2:].view(torch.int8).float() * _half(blocks, 0)


def _q4_0(blocks: torch.Tensor) -> torch.Tensor:
    return (_halves_of_bytes(blocks[:, 2:], 16).float() - 8) * _half(blocks, 0)


def _q4_1(blocks: torch.Tensor) -> torch.Tensor:
    return _halves_of_bytes(blocks[:, 4:], 16).float() * _half(blocks, 0) + _half(blocks, 2)


def _q5_0(blocks: torch.Tensor) -> torch.Tensor:
    codes = _halves_of_bytes(blocks[:, 6:], 16) | _fifth_bits(blocks, 2)
    return (codes.float() - 16) * _half(blocks, 0)


def _q5_1(blocks: torch.Tensor) -> torch.Tensor:
    codes = _halves_of_bytes(blocks[:, 8:], 16) | _fifth_bits(blocks, 4)
    return codes.float() * _half(blocks, 0) + _half(blocks, 2)


def _q4_k(blocks: torch.Tensor) -> torch.Tensor:
    return _scaled_and_shifted(blocks, _halves_of_bytes(blocks[:, 16:], 32))


def _q5_k(blocks: torch.Tensor) -> torch.Tensor:
    fifth = _bits_of_bytes(blocks[:, 16:48], bits=1, run=32) << 4
    return _scaled_and_shifted(blocks, _halves_of_bytes(blocks[:, 48:], 32) | fifth)


def _q6_k(blocks: torch.Tensor) -> torch.Tensor:
    low = _halves_of_bytes(blocks[:, :128], 64)
    high = _bits_of_bytes(blocks[:, 128:192], bits=2, run=32) << 4
    scales = _half(blocks, 208) * blocks[:, 192:208].view(torch.int8)
    values = ((low | high).float() - 32).view(-1, 16, 16) * scales.unsqueeze(-1)
    return values.flatten(1)


def _scaled_and_shifted(blocks: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Return the values of Q4_K and Q5_K."""
    scale, minimum = _scales_and_minima(blocks)
    values = codes.float().view(-1, 8, 32) * scale.unsqueeze(-1) - minimum.unsqueeze(-1)
    return values.flatten(1)


def _scales_and_minima(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scales and minima of Q4_K and Q5_K: those of eight parts of 32 codes, with 6 bits each."""
    first, second, third = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scales = torch.cat((first & 63, third & 15 | first >> 6 << 4), dim=1)
    minima = torch.cat((second & 63, third >> 4 | second >> 6 << 4), dim=1)
    return _half(blocks, 0) * scales, _half(blocks, 2) * minima


_DECODERS: dict[str, Decode] = {
    "F32": _floats(torch.float32),
    "F16": _floats(torch.float16),
    "BF16": _floats(torch.bfloat16),
    "Q8_0": _q8_0,
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}
