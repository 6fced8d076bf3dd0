"""Tensors of zeros take memory when they are written, in huge pages where the system has them."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from model.memory.zeroed_memory import HUGE_PAGE, zeroed_tensor


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 1 << 21), (0, 4)], ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.int64], ids=str)
def test_it_holds_zeros_of_the_shape_and_type_asked_for(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    assert torch.equal(zeroed_tensor(shape, dtype), torch.zeros(shape, dtype=dtype))


def test_it_is_written_and_outlives_every_other_name_of_its_memory() -> None:
    rows = zeroed_tensor((4, 1 << 20), torch.float32)
    row = rows[3]
    row += 1
    del rows
    assert row.sum().item() == 1 << 20


def test_it_begins_a_huge_page_and_a_storage() -> None:
    # A storage offset would be a constant of compiled code: every other cache would be compiled for anew.
    tensors = [zeroed_tensor((1000,), torch.float32) for _ in range(4)]
    assert {tensor.data_ptr() % HUGE_PAGE for tensor in tensors} == {0}
    assert {tensor.storage_offset() for tensor in tensors} == {0}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux says what a process has now")
def test_what_is_not_written_takes_no_memory() -> None:
    before = _resident_bytes()
    cache = zeroed_tensor((4 << 30,), torch.uint8)
    cache[:: 1 << 30] = 1
    assert 4 * resource.getpagesize() <= _resident_bytes() - before <= 5 * HUGE_PAGE


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
