"""Steps over ragged sequences, driven by hand: what the engine's runner does, in a few lines."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch

from model.attention_metadata import AttentionMetadata
from model.kv_cache import PagedKVCache
from model.qwen3 import Qwen3ForCausalLM


@dataclass
class CachedSequence:
    """Tokens of one sequence and the pages that hold the first `num_cached` of them."""

    token_ids: list[int]
    pages: list[int] = field(default_factory=list)
    num_cached: int = 0


class PackedSteps:
    """A model, a cache of its own and pages in random order."""

    def __init__(self, model: Qwen3ForCausalLM, *, num_pages: int = 200, page_size: int = 64, seed: int = 0) -> None:
        self.model = model
        self.page_size = page_size
        self.cache = PagedKVCache(model.config, num_pages, page_size, model.device, model.dtype)
        self.free = list(range(1, num_pages))  # page 0 is the sink
        random.Random(seed).shuffle(self.free)

    def run(
        self,
        sequences: list[CachedSequence],
        *,
        most: int | None = None,
        spare_columns: int = 0,
        is_decode: bool = False,
        num_decodes: int = 0,
        last_only: bool = False,
    ) -> list[torch.Tensor]:
        """Feeds each sequence's tokens that are not cached yet, at most `most` each; the first `num_decodes` decode.

        Returns for each sequence the logits of the tokens that were fed, [tokens, valid_vocab], or of the last one.
        """
        counts = [min(most or len(s.token_ids), len(s.token_ids) - s.num_cached) for s in sequences]
        num_decodes = len(sequences) if is_decode else num_decodes
        metadata = self._metadata(sequences, counts, spare_columns, num_decodes)
        fed = [t for s, n in zip(sequences, counts, strict=True) for t in s.token_ids[s.num_cached :][:n]]
        with torch.inference_mode():
            hidden = self.model.forward(torch.tensor(fed), metadata, self.cache, last_only=last_only)
            logits = self.model.logits(hidden)
        for sequence, count in zip(sequences, counts, strict=True):
            sequence.num_cached += count
        return list(logits.split([1] * len(counts) if last_only else counts))

    def generate(self, sequences: list[CachedSequence], num_tokens: int) -> list[torch.Tensor]:
        """Prefills all, then decodes greedily. Returns each one's logits for its new tokens [num_tokens, vocab]."""
        steps = [[rows[-1] for rows in self.run(sequences)]]
        for _ in range(num_tokens - 1):
            for sequence, logits in zip(sequences, steps[-1], strict=True):
                sequence.token_ids.append(int(logits.argmax()))
            steps.append([rows[-1] for rows in self.run(sequences, is_decode=True)])
        return [torch.stack(list(of_one)) for of_one in zip(*steps, strict=True)]

    def _metadata(
        self, sequences: list[CachedSequence], counts: list[int], spare_columns: int, num_decodes: int
    ) -> AttentionMetadata:
        size = self.page_size
        positions: list[int] = []
        slots: list[int] = []
        query_start = [0]
        for sequence, count in zip(sequences, counts, strict=True):
            end = sequence.num_cached + count
            while len(sequence.pages) * size < end:
                sequence.pages.append(self.free.pop())
            places = range(sequence.num_cached, end)
            positions += places
            slots += [sequence.pages[place // size] * size + place % size for place in places]
            query_start.append(query_start[-1] + count)
        tables = torch.zeros(len(sequences), max(len(s.pages) for s in sequences) + spare_columns, dtype=torch.int32)
        for row, sequence in enumerate(sequences):
            tables[row, : len(sequence.pages)] = torch.tensor(sequence.pages)
        ends = [s.num_cached + n for s, n in zip(sequences, counts, strict=True)]
        return AttentionMetadata(
            positions=torch.tensor(positions),
            slots=torch.tensor(slots),
            query_start=torch.tensor(query_start, dtype=torch.int32),
            context_lens=torch.tensor(ends, dtype=torch.int32),
            page_tables=tables,
            num_decodes=num_decodes,
        )


def ragged_prompts(count: int, *, longest: int, vocab_size: int, seed: int = 0) -> list[list[int]]:
    """Random prompts of 1 to `longest` tokens; the first has one token, the last `longest`."""
    numbers = random.Random(seed)
    lengths = [1, *(numbers.randint(1, longest) for _ in range(count - 2)), longest][:count]
    return [[numbers.randrange(vocab_size) for _ in range(length)] for length in lengths]
