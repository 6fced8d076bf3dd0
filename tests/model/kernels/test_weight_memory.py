"""Packed weights lie in memory of their own, for which huge pages are asked, and which is given back with them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from model.memory.zeroed_memory import HUGE_PAGE
from model.ops.linear import Quantization, pack_weight
from model.ops.packed_weight import is_packed_for_own_kernel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere weights lie in the heap")

OUT_FEATURES, IN_FEATURES = 4096, 1024  # two huge pages or more in any form


@pytest.fixture(params=["none", "int8"])
def quantize(request: pytest.FixtureRequest) -> Quantization:
    wanted: Quantization = request.param
    if not is_packed_for_own_kernel(pack_weight(torch.ones(64, 64, dtype=torch.bfloat16), wanted)):
        pytest.skip("no kernel of ours multiplies such weights here")
    return wanted


def packed(quantize: Quantization) -> torch.Tensor:
    return pack_weight(torch.ones(OUT_FEATURES, IN_FEATURES, dtype=torch.bfloat16), quantize)


def test_a_weight_begins_a_huge_page_that_was_asked_for(quantize: Quantization) -> None:
    weight = packed(quantize)
    assert weight.data_ptr() % HUGE_PAGE == 0
    assert weight.is_contiguous()
    assert "hg" in _flags_of_memory(weight.data_ptr())


def test_what_does_not_fill_a_huge_page_takes_none(quantize: Quantization) -> None:
    # A model of 28 layers with four such ends would else be hundreds of megabytes larger than its weights.
    weight = pack_weight(torch.ones(OUT_FEATURES + 64, IN_FEATURES, dtype=torch.bfloat16), quantize)
    last = weight.data_ptr() + weight.nbytes - 1
    assert last // HUGE_PAGE * HUGE_PAGE != last + 1
    assert "hg" not in _flags_of_memory(last)


def test_memory_goes_with_its_weight(quantize: Quantization) -> None:
    before = _mapped_bytes()
    for _ in range(50):
        size = packed(quantize).nbytes
    assert _mapped_bytes() - before < 10 * size


def test_a_weight_of_less_than_a_huge_page_is_packed_as_well(quantize: Quantization) -> None:
    weight = torch.randn(64, 256).bfloat16()
    x = torch.randn(3, 256).bfloat16()
    small = pack_weight(weight, quantize)
    assert small.nbytes < HUGE_PAGE
    expected = x.float() @ weight.float().T
    product = torch.ops.qwen_batch.linear(x, small, 64).float()
    assert (product - expected).abs().max() < 0.05 * expected.abs().max()


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
