"""Blocks of GGUF files have the values that llama.cpp's own package gives them, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.checkpoint.gguf.block_types import BLOCK_TYPES, type_name
from model.checkpoint.gguf.blocks import decode

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


def test_types_that_cannot_be_read_have_names_too() -> None:
    assert (type_name(23), type_name(11), type_name(99)) == ("IQ4_XS", "Q3_K", "type 99")
