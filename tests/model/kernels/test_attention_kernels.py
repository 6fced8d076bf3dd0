"""Attention in C++ against exact attention, and the law that a row's bits are its own."""

from __future__ import annotations

import pytest
import torch

from testing.models.paged_sequences import PAGE_SIZE, Heads, PagedSequences
from tests.conftest import require

pytestmark = pytest.mark.usefixtures("built_kernels")

LENGTHS = [1, 2, 63, 64, 65, 17, 200, 130, 321]
HEADS = pytest.mark.parametrize(
    "heads",
    [
        Heads(16, 8, 128),
        Heads(32, 8, 128),
        Heads(24, 8, 64),
        Heads(4, 2, 32),
        Heads(10, 2, 64),
        Heads(3, 3, 96),
        Heads(8, 1, 128),
    ],
    ids=str,
)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1.6e-2}  # outputs are about 1; bfloat16 holds 8 bits of them


def needs_prefill_kernel(heads: Heads) -> None:
    require(
        torch.ops.qwen_batch_cpu.prefill_attention_available(heads.dim, PAGE_SIZE),
        "the prefill kernel needs a head size that is a multiple of 32",
    )


@DTYPES
@HEADS
def test_decode_is_exact_attention_of_the_last_token(heads: Heads, dtype: torch.dtype) -> None:
    sequences = PagedSequences(LENGTHS, heads, dtype)
    out = sequences.decode(list(range(len(LENGTHS))))
    assert out.dtype == dtype
    for row in range(len(LENGTHS)):
        torch.testing.assert_close(out[row].double(), sequences.exact(row)[-1], atol=TOLERANCE[dtype], rtol=1e-2)


@HEADS
def test_prefill_is_exact_causal_attention(heads: Heads) -> None:
    needs_prefill_kernel(heads)
    sequences = PagedSequences(LENGTHS, heads, torch.bfloat16)
    outs = sequences.prefill([(row, 0, length) for row, length in enumerate(LENGTHS)])
    for row, out in enumerate(outs):
        torch.testing.assert_close(out.double(), sequences.exact(row), atol=TOLERANCE[torch.bfloat16], rtol=1e-2)


@DTYPES
def test_a_decoded_row_has_the_same_bits_among_any_neighbours(threads: int, dtype: torch.dtype) -> None:
    sequences = PagedSequences(LENGTHS, Heads(16, 8, 128), dtype)
    torch.set_num_threads(1)
    alone = [sequences.decode([row])[0] for row in range(len(LENGTHS))]
    torch.set_num_threads(threads)
    for rows in (list(range(len(LENGTHS))), [8, 0, 8, 3], [6, 5]):
        for spare_columns in (0, 3):
            for out, row in zip(sequences.decode(rows, spare_columns), rows, strict=True):
                assert torch.equal(out, alone[row])


@pytest.mark.parametrize("heads", [Heads(16, 8, 128), Heads(10, 2, 64), Heads(8, 1, 128)], ids=str)
def test_a_decoded_row_has_the_same_bits_among_rows_that_share_its_pages(threads: int, heads: Heads) -> None:
    sequences = PagedSequences([700, *([140] * 40)], heads, torch.bfloat16)
    whole = sequences.tables[0]
    generator = torch.Generator().manual_seed(1)
    for row in range(1, 41):  # the first pages are those of the long sequence, and each length is another one
        shared = int(torch.randint(0, 10, (), generator=generator))
        own = sequences.tables[row]
        sequences.tables[row] = torch.cat([whole[:shared], own])
        sequences.lengths[row] = int(torch.randint(1, 64 * (shared + len(own)) + 1, (), generator=generator))
    torch.set_num_threads(1)
    alone = [sequences.decode([row])[0] for row in range(41)]
    torch.set_num_threads(threads)
    in_order = sorted(range(41), key=lambda row: len(sequences.tables[row]))
    for rows in (list(range(41)), in_order, in_order[::-1], [7, 7, 7, 0, 0]):
        for out, row in zip(sequences.decode(rows), rows, strict=True):
            assert torch.equal(out, alone[row]), row


@pytest.mark.parametrize("dim", [24, 64, 128])
def test_a_decoded_value_between_two_bfloat16_values_becomes_the_even_one(dim: int) -> None:
    step = 2.0**-7  # from 1 to the next bfloat16 value
    cache = torch.zeros(1, 2, 1, PAGE_SIZE, dim, dtype=torch.bfloat16)
    cache[0, 1, 0, :2, 0] = torch.tensor([1, 1 + step])
    cache[0, 1, 0, :2, 1] = torch.tensor([1 + step, 1 + 2 * step])
    lens, tables = torch.tensor([2], dtype=torch.int32), torch.zeros(1, 1, dtype=torch.int32)
    query = torch.zeros(1, 1, dim, dtype=torch.bfloat16)
    out = torch.ops.qwen_batch_cpu.decode_attention(query, cache, lens, tables, 1.0)
    assert out[0, 0, :2].tolist() == [1, 1 + 2 * step]


def test_a_prompt_has_the_same_bits_among_any_neighbours_and_in_any_chunks(threads: int) -> None:
    heads = Heads(16, 8, 128)
    needs_prefill_kernel(heads)
    sequences = PagedSequences(LENGTHS, heads, torch.bfloat16)
    torch.set_num_threads(1)
    alone = [sequences.prefill([(row, 0, length)])[0] for row, length in enumerate(LENGTHS)]
    torch.set_num_threads(threads)
    together = sequences.prefill([(row, 0, length) for row, length in enumerate(LENGTHS)], spare_columns=2)
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))
    for row in (6, 8):
        for chunk in (1, 48, 64, 100):
            parts = [(row, first, min(first + chunk, LENGTHS[row])) for first in range(0, LENGTHS[row], chunk)]
            assert torch.equal(torch.cat([sequences.prefill([part, (3, 0, 64)])[0] for part in parts]), alone[row])


@pytest.mark.parametrize("heads", [Heads(16, 8, 128), Heads(10, 2, 64)], ids=str)
def test_a_prompt_has_the_same_bits_among_prompts_that_share_its_pages(threads: int, heads: Heads) -> None:
    needs_prefill_kernel(heads)
    sequences = PagedSequences([450] * 12, heads, torch.bfloat16)
    generator = torch.Generator().manual_seed(1)
    parts = []
    for row, table in enumerate(sequences.tables):  # other numbers of shared pages, also pages that only some see whole
        table[: row % 7] = sequences.tables[0][: row % 7]
        end = int(torch.randint(1, 451, (), generator=generator))
        parts.append((row, max(0, end - int(torch.randint(1, 90, (), generator=generator))), end))
    torch.set_num_threads(1)
    alone = [sequences.prefill([part])[0] for part in parts]
    torch.set_num_threads(threads)
    for together in (sequences.prefill(parts), sequences.prefill(parts[::-1])[::-1]):
        for row, (one, other) in enumerate(zip(together, alone, strict=True)):
            assert torch.equal(one, other), row


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"context_lens": [0]}, "a context length is outside its pages"),
        ({"context_lens": [65]}, "a context length is outside its pages"),
        ({"page_tables": [[7]]}, "a page number is outside the cache"),
        ({"page_tables": [[-1]]}, "a page number is outside the cache"),
        ({"context_lens": [3, 3]}, "must have one entry per sequence"),
    ],
)
def test_indices_outside_the_cache_are_refused_not_read(change: dict[str, list[int]], words: str) -> None:
    given = {"context_lens": [3], "page_tables": [[1]]} | change
    cache = torch.zeros(2, 2, 1, PAGE_SIZE, 32)
    lens, tables = (torch.tensor(given[name], dtype=torch.int32) for name in ("context_lens", "page_tables"))
    with pytest.raises(RuntimeError, match=words):
        torch.ops.qwen_batch_cpu.decode_attention(torch.zeros(1, 2, 32), cache, lens, tables, 1.0)
