"""Blocks of GGUF files have the values that llama.cpp's own package gives them, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.checkpoint.gguf.block_types import BLOCK_TYPES, type_name
from model.checkpoint.gguf.blocks import FOUR_BITS, decode, four_bits

GOLDEN = load_file(Path(__file__).parent / "golden" / "blocks.safetensors")  # from tools.make_golden_gguf


@pytest.mark.parametrize("dtype", BLOCK_TYPES)
def test_a_block_has_the_values_that_llama_cpp_gives_it(dtype: str) -> None:
    blocks, value = GOLDEN[f"{dtype}.blocks"], GOLDEN[f"{dtype}.value"]
    assert (blocks.shape[1], value.shape[1]) == (BLOCK_TYPES[dtype].bytes, BLOCK_TYPES[dtype].values)
    assert torch.equal(decode(dtype, blocks), value)


@pytest.mark.parametrize("dtype", BLOCK_TYPES)
def test_a_block_is_decoded_alone_as_among_others(dtype: str) -> None:
    for blocks, value in zip(GOLDEN[f"{dtype}.blocks"], GOLDEN[f"{dtype}.value"], strict=True):
        assert torch.equal(decode(dtype, blocks.view(1, -1).clone()), value.view(1, -1))


@pytest.mark.parametrize("dtype", FOUR_BITS)
def test_the_codes_of_a_block_stand_for_its_values(dtype: str) -> None:
    codes, scales, minima = four_bits(dtype, GOLDEN[f"{dtype}.blocks"])
    assert int(codes.max()) <= 15
    in_groups = codes.float().unflatten(1, (-1, 32))
    values = (in_groups * scales.unsqueeze(-1) - minima.unsqueeze(-1)).flatten(1)
    assert torch.equal(values, GOLDEN[f"{dtype}.value"])


def test_types_that_cannot_be_read_have_names_too() -> None:
    assert (type_name(23), type_name(11), type_name(99)) == ("IQ4_XS", "Q3_K", "type 99")
