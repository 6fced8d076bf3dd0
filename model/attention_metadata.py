"""Positions and sequences of a step's tokens, passed as an explicit argument instead of global context."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class AttentionMetadata:
    """A step's tokens, packed along one axis, sequence by sequence, without padding between them.

    Sequences that decode come first, with one token each. A sequence that feeds several tokens to the decode kernel
    stands there once per token, with the same pages and growing context lengths. Prompts follow, each with all of its
    tokens or with its next chunk. Only fused layers can run both kinds in one step (`model.fused_layers`).

    A step has at least two rows, two sequences and two page-table columns. A size of one would make `torch.compile`
    specialise, and a single row would use another matrix kernel, with different bits. To reach two, the runner adds a
    padding token on page 0, the sink.
    """

    positions: torch.Tensor  # [num_tokens] int64, each token's position in its sequence, from 0
    slots: torch.Tensor  # [num_tokens] int64, slot of the token's key and value: page * page_size + offset
    query_start: torch.Tensor  # [num_seqs + 1] int32, index of each sequence's first token in this step
    context_lens: torch.Tensor  # [num_seqs] int32, tokens in the cache after this step, including this step's
    page_tables: torch.Tensor  # [num_seqs, max_pages] int32, the pages of each sequence; unused entries are 0
    num_decodes: int  # number of sequences that decode; it decides the kernel and with it the bits

    @property
    def is_decode(self) -> bool:
        """True if all sequences decode, False if none does. Raises `ValueError` for a step with both kinds."""
        if 0 < self.num_decodes < len(self.context_lens):
            raise ValueError(
                f"{self.num_decodes} of {len(self.context_lens)} sequences decode; only fused layers do that"
            )
        return self.num_decodes > 0
