"""Where the tokens of a step stand: the explicit argument that replaces ambient context."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class AttentionMetadata:
    """A step's tokens, packed along one axis sequence by sequence, without padding between them.

    Sequences that decode have one token in it and come first; after them come prompts with all of their tokens (or the
    next chunk of them). A step has both where layers can run both at once (`model.fused_layers`).
    Steps have at least two rows, two sequences and two block-table columns: sizes of one would make
    `torch.compile` specialise, and one row alone takes another matrix kernel with other bits. The runner pads with a
    token of its own on page 0, the sink.
    """

    positions: torch.Tensor  # [num_tokens] int64, each token's place in its sequence, from 0
    slots: torch.Tensor  # [num_tokens] int64, page * page_size + offset: where the token's key and value go
    query_start: torch.Tensor  # [num_seqs + 1] int32, where each sequence's tokens begin in this step
    context_lens: torch.Tensor  # [num_seqs] int32, tokens in the cache after this step, this step's included
    block_tables: torch.Tensor  # [num_seqs, max_pages] int32, the pages of each sequence; unused entries are 0
    num_decodes: int  # sequences that decode: decides the kernel, and so the bits

    @property
    def is_decode(self) -> bool:
        """Whether all sequences decode. Raises `ValueError` for a step that has both kinds."""
        if 0 < self.num_decodes < len(self.context_lens):
            raise ValueError(
                f"{self.num_decodes} of {len(self.context_lens)} sequences decode; only fused layers do that"
            )
        return self.num_decodes > 0
