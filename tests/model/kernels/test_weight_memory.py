"""Packed weights lie side by side in huge pages, which are given back with the last of them."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from model.memory.zeroed_memory import HUGE_PAGE
from model.ops.linear import Quantization, pack_weight
from model.ops.packed_weight import is_packed_for_own_kernel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere weights lie in the heap")

OUT_FEATURES, IN_FEATURES = 4096, 1024  # two huge pages or more with 8 bits
CHUNK = 128 << 20  # bytes, as in weight_memory.cpp


@pytest.fixture(params=["none", "int8", "int4"])
def quantize(request: pytest.FixtureRequest, built_kernels: None) -> Quantization:
    wanted: Quantization = request.param
    if not is_packed_for_own_kernel(pack_weight(torch.ones(64, 64, dtype=torch.bfloat16), wanted)):
        pytest.skip("no kernel of ours multiplies such weights here")
    return wanted


def packed(quantize: Quantization, out_features: int = OUT_FEATURES) -> torch.Tensor:
    return pack_weight(torch.ones(out_features, IN_FEATURES, dtype=torch.bfloat16), quantize)


@pytest.mark.parametrize("out_features", [OUT_FEATURES, OUT_FEATURES + 64, 96])
def test_every_weight_lies_in_huge_pages_that_were_asked_for(quantize: Quantization, out_features: int) -> None:
    weight = packed(quantize, out_features)
    assert weight.is_contiguous()
    assert weight.data_ptr() % 64 == 0
    for byte in (weight.data_ptr(), weight.data_ptr() + weight.nbytes - 1):
        assert "hg" in _flags_of_memory(byte)


def test_small_weights_share_huge_pages(quantize: Quantization) -> None:
    weights = [packed(quantize, 96) for _ in range(9)]
    size = weights[0].nbytes
    assert size < HUGE_PAGE // 4
    distances = [after.data_ptr() - weight.data_ptr() for weight, after in pairwise(weights)]
    assert distances.count(size) >= 7, "of eight, one may lead to a new chunk"


def test_weights_that_lie_side_by_side_keep_their_values(quantize: Quantization) -> None:
    large = 70_000 if quantize == "none" else 4160  # the first needs more than a chunk
    weights = [torch.randn(rows, IN_FEATURES).bfloat16() for rows in (96, 33, 4096, large, 64)]
    side_by_side = [pack_weight(weight, quantize) for weight in weights]
    for weight, ours in zip(weights, side_by_side, strict=True):
        assert torch.equal(ours, pack_weight(weight, quantize))


def test_memory_goes_with_the_last_weight_of_a_chunk(quantize: Quantization) -> None:
    weight, made = packed(quantize), 0
    plain = torch.ones(OUT_FEATURES, IN_FEATURES, dtype=torch.bfloat16)
    before = _mapped_bytes()
    while made < 5 * CHUNK:
        weight = pack_weight(plain, quantize)  # the last one lives until this one is there
        made += weight.nbytes
    assert _mapped_bytes() - before < 3 * CHUNK


def _flags_of_memory(address: int) -> list[str]:
    """Linux's flags of the mapping that holds `address`."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        bounds = line.split(maxsplit=1)[0]
        if "-" in bounds and not bounds.endswith(":"):
            start, end = (int(part, 16) for part in bounds.split("-"))
            inside = start <= address < end
        elif inside and line.startswith("VmFlags:"):
            return line.split()[1:]
    raise AssertionError(f"{address:x} is not mapped")


def _mapped_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * 4096
