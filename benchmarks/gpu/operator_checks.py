"""Checks of each operator on a device: against exact attention on the CPU, and for independence of a row's bits."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.gpu.finding import Finding
from model.ops import attention, kv_store  # noqa: F401 - registers the operators
from model.ops.kv_store import store_kv
from testing.models.paged_sequences import PAGE_SIZE, Heads, PagedSequences

LENGTHS = [1, 2, 63, 64, 65, 17, 200, 130, 321, 1500]
# Heads of 0.6B, 4B and 32B, and an unusual shape.
SHAPES = (Heads(16, 8, 128), Heads(32, 8, 128), Heads(64, 8, 128), Heads(6, 2, 64))
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1.6e-2}  # outputs are about 1, and bfloat16 has 8 bits
ROWS = list(range(len(LENGTHS)))


def check_operators(device: torch.device) -> Iterator[Finding]:
    """Check every operator in every type and shape."""
    for dtype in TOLERANCE:
        for heads in SHAPES:
            yield from _attention_findings(OnDevice(PagedSequences(LENGTHS, heads, dtype), device))
        yield Finding(f"store_kv, {_name(dtype)}: places that differ", _misplaced(device, dtype), 0)


class OnDevice:
    """Sequences whose cache is on the device, and attention over them."""

    def __init__(self, sequences: PagedSequences, device: torch.device) -> None:
        self.sequences = sequences
        self._device = device
        self._cache = sequences.cache.to(device)

    def decode(self, rows: list[int], spare_columns: int = 0) -> torch.Tensor:
        """Return attention of the last token of these sequences, [rows, query heads, dim]."""
        parts = [(row, self.sequences.lengths[row] - 1, self.sequences.lengths[row]) for row in rows]
        return torch.cat(self._attend(parts, spare_columns, is_decode=True))

    def prefill(self, parts: list[tuple[int, int, int]], spare_columns: int = 0) -> list[torch.Tensor]:
        """Return attention of the tokens `first` to `end` of sequence `row`, for each (row, first, end) in `parts`."""
        return self._attend(parts, spare_columns, is_decode=False)

    def _attend(self, parts: list[tuple[int, int, int]], spare_columns: int, *, is_decode: bool) -> list[torch.Tensor]:
        counts = [end - first for _, first, end in parts]
        out: torch.Tensor = torch.ops.qwen_batch.paged_attention(
            torch.cat([self.sequences.queries[row][first:end] for row, first, end in parts]).to(self._device),
            self._cache,
            torch.tensor([0, *torch.tensor(counts).cumsum(0).tolist()], dtype=torch.int32, device=self._device),
            torch.tensor([end for *_, end in parts], dtype=torch.int32, device=self._device),
            self.sequences.page_tables([row for row, *_ in parts], spare_columns).to(self._device),
            self.sequences.heads.scale,
            is_decode,
        )
        return list(out.cpu().split(counts))


def _attention_findings(on: OnDevice) -> Iterator[Finding]:
    sequences, heads = on.sequences, on.sequences.heads
    allowed = TOLERANCE[sequences.dtype]
    shape = f"{_name(sequences.dtype)}, {heads.query}/{heads.kv} heads of {heads.dim}"
    exact = [sequences.exact(row) for row in ROWS]
    decoded = on.decode(ROWS)
    last = torch.stack([each[-1] for each in exact])
    yield Finding(f"decode, {shape}: largest error", _largest_error(decoded, last), allowed)
    whole = on.prefill([(row, 0, length) for row, length in enumerate(LENGTHS)])
    yield Finding(f"prefill, {shape}: largest error", _largest_error(torch.cat(whole), torch.cat(exact)), allowed)
    alone = torch.cat([on.decode([row], spare_columns=3) for row in ROWS])
    yield Finding(f"decode, {shape}: bits that neighbours change", _different(decoded, alone), 0)
    chunks = [on.prefill([(3, 0, 64), (9, first, min(first + 300, 1500))])[1] for first in range(0, 1500, 300)]
    yield Finding(f"prefill, {shape}: bits that chunks change", _different(torch.cat(chunks), whole[9]), 0)


def _misplaced(device: torch.device, dtype: torch.dtype) -> float:
    """Return the number of cache elements that differ from those of plain PyTorch."""
    generator = torch.Generator().manual_seed(0)
    _, k, v = torch.randn(100, 32, 128, generator=generator).to(dtype).split((16, 8, 8), dim=1)
    slots = torch.randperm(5 * PAGE_SIZE, generator=generator)[:100]
    here = torch.zeros(5, 2, 8, PAGE_SIZE, 128, dtype=dtype)
    there = here.to(device, copy=True)
    torch.ops.qwen_batch.store_kv(k.to(device), v.to(device), there, slots.to(device))
    store_kv(k, v, here, slots)
    return _different(there.cpu(), here)


def _largest_error(out: torch.Tensor, exact: torch.Tensor) -> float:
    """Return the largest error: absolute up to 1, relative above 1."""
    return float(((out.double() - exact).abs() / exact.abs().clamp(min=1)).max())


def _different(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one != other).sum())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
