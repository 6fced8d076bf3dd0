"""Ragged sequences in scattered pages, and attention over them as a textbook writes it, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

PAGE_SIZE = 64


@dataclass(frozen=True)
class Heads:
    """Numbers of query and key-value heads, and their size."""

    query: int
    kv: int
    dim: int

    @property
    def scale(self) -> float:
        return float(self.dim**-0.5)


class PagedSequences:
    """Keys, values and one query for every token of each sequence, in a cache whose other places hold large numbers."""

    def __init__(self, lengths: list[int], heads: Heads, dtype: torch.dtype, *, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.lengths, self.heads, self.dtype = lengths, heads, dtype
        counts = [-(-length // PAGE_SIZE) for length in lengths]
        pages = torch.randperm(sum(counts), generator=generator) + 1
        self.cache = torch.full((sum(counts) + 1, 2, heads.kv, PAGE_SIZE, heads.dim), 999.0).to(dtype)
        self.cache[:, 1] *= -1
        self.tables = [part.int() for part in pages.split(counts)]
        self.keys, self.values, self.queries = [], [], []
        for length, table in zip(lengths, self.tables, strict=True):
            self.keys.append(torch.randn(length, heads.kv, heads.dim, generator=generator).to(dtype))
            self.values.append(torch.randn(length, heads.kv, heads.dim, generator=generator).to(dtype))
            self.queries.append(torch.randn(length, heads.query, heads.dim, generator=generator).to(dtype))
            for place in range(length):
                self.cache[table[place // PAGE_SIZE], 0, :, place % PAGE_SIZE] = self.keys[-1][place]
                self.cache[table[place // PAGE_SIZE], 1, :, place % PAGE_SIZE] = self.values[-1][place]

    def page_tables(self, rows: list[int], spare_columns: int = 0) -> torch.Tensor:
        """[rows, pages of the longest + spare]; what is beyond a sequence's own pages is the sink."""
        tables = torch.zeros(len(rows), max(len(self.tables[r]) for r in rows) + spare_columns, dtype=torch.int32)
        for row, sequence in enumerate(rows):
            tables[row, : len(self.tables[sequence])] = self.tables[sequence]
        return tables

    def decode(self, rows: list[int], spare_columns: int = 0) -> torch.Tensor:
        """The C++ kernel for the last token of these sequences: [rows, query heads, dim]."""
        lens = torch.tensor([self.lengths[row] for row in rows], dtype=torch.int32)
        queries = torch.stack([self.queries[row][-1] for row in rows])
        out: torch.Tensor = torch.ops.qwen_batch_cpu.decode_attention(
            queries, self.cache, lens, self.page_tables(rows, spare_columns), self.heads.scale
        )
        return out

    def prefill(self, parts: list[tuple[int, int, int]], spare_columns: int = 0) -> list[torch.Tensor]:
        """The C++ kernel for tokens `first` to `end` of sequence `row`, for each of `parts` (row, first, end)."""
        counts = [end - first for _, first, end in parts]
        starts = torch.tensor([0, *torch.tensor(counts).cumsum(0).tolist()], dtype=torch.int32)
        lens = torch.tensor([end for *_, end in parts], dtype=torch.int32)
        queries = torch.cat([self.queries[row][first:end] for row, first, end in parts])
        tables = self.page_tables([row for row, *_ in parts], spare_columns)
        out: torch.Tensor = torch.ops.qwen_batch_cpu.prefill_attention(
            queries, self.cache, starts, lens, tables, self.heads.scale
        )
        return list(out.split(counts))

    def exact(self, row: int) -> torch.Tensor:
        """Causal attention of one sequence, [tokens, query heads, dim] float64."""
        group = self.heads.query // self.heads.kv
        k = self.keys[row].double().repeat_interleave(group, 1)
        v = self.values[row].double().repeat_interleave(group, 1)
        scores = torch.einsum("qhd,khd->hqk", self.queries[row].double(), k) * self.heads.scale
        places = torch.arange(self.lengths[row])
        scores = scores.masked_fill(places[None, :] > places[:, None], -math.inf)
        return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)
