"""The Triton kernels in Triton's interpreter, on CPU tensors: exact attention, and a row's bits are its own.

They have not yet run on a GPU.
"""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from typing import Any

import pytest
import torch

from model.ops.attention import reference_paged_attention
from model.ops.kv_store import store_kv as plain_store_kv
from testing.models.paged_sequences import Heads, PagedSequences
from tests.conftest import require
from tests.model.kernels.triton_interpreter import interpret_bfloat16_products

LENGTHS = [1, 2, 63, 64, 65, 17, 130]
LONG = [1100, 513, 3, 512]  # of several splits
QUICK = {  # the interpreter takes seconds for bfloat16 and large heads
    Heads(4, 2, 32): torch.float32,
    Heads(6, 2, 24): torch.bfloat16,
    Heads(3, 3, 96): torch.float32,
    Heads(8, 1, 128): torch.float32,
}
HEADS = list(QUICK)
DTYPES = [torch.float32, torch.bfloat16]
ALL_DTYPES = pytest.mark.parametrize("dtype", DTYPES, ids=str)
MOSTLY_BFLOAT16 = pytest.mark.parametrize(
    "dtype", [pytest.param(torch.float32, marks=pytest.mark.slow), torch.bfloat16], ids=str
)  # where a sum in another order shows
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1.6e-2}  # outputs are about 1; bfloat16 holds 8 bits of them


@pytest.fixture(autouse=True)
def triton(monkeypatch: pytest.MonkeyPatch) -> Any:
    require(importlib.util.find_spec("triton") is not None, "the package triton is for Linux")
    interpret_bfloat16_products(monkeypatch)
    from model.kernels.triton import operators

    return operators


def decoded(triton: Any, sequences: PagedSequences, rows: list[int], spare_columns: int = 0) -> torch.Tensor:
    """The last token of these sequences, [rows, query heads, dim]."""
    out: torch.Tensor = triton.paged_attention(
        torch.stack([sequences.queries[row][-1] for row in rows]),
        sequences.cache,
        torch.arange(len(rows) + 1, dtype=torch.int32),
        torch.tensor([sequences.lengths[row] for row in rows], dtype=torch.int32),
        sequences.page_tables(rows, spare_columns),
        sequences.heads.scale,
        True,
    )
    return out


def prefilled(
    triton: Any, sequences: PagedSequences, parts: list[tuple[int, int, int]], spare_columns: int = 0
) -> list[torch.Tensor]:
    """Tokens `first` to `end` of sequence `row`, for each of `parts` (row, first, end)."""
    counts = [end - first for _, first, end in parts]
    out: torch.Tensor = triton.paged_attention(
        torch.cat([sequences.queries[row][first:end] for row, first, end in parts]),
        sequences.cache,
        torch.tensor([0, *torch.tensor(counts).cumsum(0).tolist()], dtype=torch.int32),
        torch.tensor([end for *_, end in parts], dtype=torch.int32),
        sequences.page_tables([row for row, *_ in parts], spare_columns),
        sequences.heads.scale,
        False,
    )
    return list(out.split(counts))


@ALL_DTYPES
@pytest.mark.parametrize("heads", HEADS, ids=str)
def test_decode_is_exact_attention_of_the_last_token(triton: Any, heads: Heads, dtype: torch.dtype) -> None:
    sequences = PagedSequences(LENGTHS, heads, dtype)
    out = decoded(triton, sequences, list(range(len(LENGTHS))))
    assert out.dtype == dtype
    for row in range(len(LENGTHS)):
        torch.testing.assert_close(out[row].double(), sequences.exact(row)[-1], atol=TOLERANCE[dtype], rtol=1e-2)


@pytest.mark.parametrize(
    ("heads", "dtype"),
    [
        pytest.param(heads, dtype, marks=[] if dtype == QUICK[heads] else [pytest.mark.slow])
        for heads in HEADS
        for dtype in DTYPES
    ],
    ids=str,
)
def test_prefill_is_exact_causal_attention(triton: Any, heads: Heads, dtype: torch.dtype) -> None:
    sequences = PagedSequences(LENGTHS, heads, dtype)
    outs = prefilled(triton, sequences, [(row, 0, length) for row, length in enumerate(LENGTHS)])
    for row, out in enumerate(outs):
        torch.testing.assert_close(out.double(), sequences.exact(row), atol=TOLERANCE[dtype], rtol=1e-2)


def test_a_context_of_several_splits_is_exact_and_no_bit_depends_on_who_sums_them(
    triton: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences = PagedSequences(LONG, Heads(2, 1, 32), torch.float32)
    many = decoded(triton, sequences, [0, 1, 2, 3])
    for row in range(len(LONG)):
        torch.testing.assert_close(many[row].double(), sequences.exact(row)[-1], atol=1e-5, rtol=1e-2)
    monkeypatch.setattr("model.kernels.triton.decode_attention.PROGRAMS", 1)  # one sums all splits of a head
    assert torch.equal(decoded(triton, sequences, [0, 1, 2, 3]), many)
    assert torch.equal(decoded(triton, sequences, [0, 3], spare_columns=30), many[[0, 3]])


@MOSTLY_BFLOAT16
def test_a_decoded_row_has_the_same_bits_among_any_neighbours(triton: Any, dtype: torch.dtype) -> None:
    sequences = PagedSequences(LENGTHS, Heads(4, 2, 32), dtype)
    alone = [decoded(triton, sequences, [row])[0] for row in range(len(LENGTHS))]
    for rows in (list(range(len(LENGTHS))), [6, 0, 6, 3]):
        for spare_columns in (0, 3):
            for out, row in zip(decoded(triton, sequences, rows, spare_columns), rows, strict=True):
                assert torch.equal(out, alone[row])


@MOSTLY_BFLOAT16
def test_a_prompt_has_the_same_bits_among_any_neighbours_and_in_any_chunks(triton: Any, dtype: torch.dtype) -> None:
    sequences = PagedSequences(LENGTHS, Heads(4, 2, 32), dtype)
    alone = [prefilled(triton, sequences, [(row, 0, length)])[0] for row, length in enumerate(LENGTHS)]
    together = prefilled(triton, sequences, [(row, 0, length) for row, length in enumerate(LENGTHS)], spare_columns=2)
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))
    for cuts in ([0, 64, 128, 130], [0, 63, 65, 66, 130], [0, 1, 130]):
        parts = [(6, first, end) for first, end in pairwise(cuts)]
        chunks = [prefilled(triton, sequences, [(3, 0, 64), part, (0, 0, 1)])[1] for part in parts]
        assert torch.equal(torch.cat(chunks), alone[6])


@ALL_DTYPES
def test_keys_and_values_go_where_plain_pytorch_puts_them(triton: Any, dtype: torch.dtype) -> None:
    qkv = torch.randn(9, 10, 24).to(dtype)
    _, k, v = qkv.split((4, 3, 3), dim=1)  # views with gaps between tokens, as the layer makes them
    slots = torch.randperm(5 * 64)[:9]
    ours, plain = (torch.zeros(5, 2, 3, 64, 24, dtype=dtype) for _ in range(2))
    triton.store_kv(k, v, ours, slots)
    plain_store_kv(k, v, plain, slots)
    assert torch.equal(ours, plain)
    assert ours[:, 0].any()
    assert ours[:, 1].any()


def test_pages_that_are_no_tile_are_left_to_plain_pytorch(triton: Any) -> None:
    cache, lens = torch.randn(3, 2, 2, 24, 32), torch.tensor([20], dtype=torch.int32)
    tables, starts = torch.tensor([[1, 2]], dtype=torch.int32), torch.tensor([0, 1], dtype=torch.int32)
    arguments = (torch.randn(1, 4, 32), cache, starts, lens, tables, 0.2, True)
    assert torch.equal(triton.paged_attention(*arguments), reference_paged_attention(*arguments))


def test_they_serve_cuda_devices_once_they_are_loaded(triton: Any) -> None:
    from engine.execution.kernels import load_kernels_for

    said: list[str] = []
    assert load_kernels_for("cuda:0", said.append)
    assert load_kernels_for("cuda:0", said.append)  # a second engine in the process
    assert said == []
    for name in ("paged_attention", "store_kv"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"qwen_batch::{name}", "CUDA")


def test_without_triton_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.execution.kernels import load_kernels_for

    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    said: list[str] = []
    assert not load_kernels_for("cuda:0", said.append)
    assert said == ["Running without the Triton kernels, much slower: the package triton is not installed."]
