"""The best tokens of each row, without sorting the vocabulary.

A row's k best elements lie in the k blocks with the largest maxima. The reason: if an element has rank r, at most r - 1
blocks have a larger maximum than its block. One pass over memory computes the maximum of every block. Then only k
blocks are read, and within these only k smaller blocks. Equal logits, which are common in bfloat16, rank by id, the
lowest first. This holds throughout the project.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import pad

BLOCK = 64  # logits per block: the smallest size that PyTorch's CPU kernel reduces at full speed in float32
LONG_BLOCK = 1024  # if only the best token is needed: the kernel runs at full speed in bfloat16, too
_SMALL_BLOCK = 8  # logits per block in the second round


@dataclass(frozen=True)
class BlockedLogits:
    """Logits divided into blocks, without a copy. An incomplete last block is padded with -inf."""

    logits: torch.Tensor  # [n, vocab]
    full: torch.Tensor  # the complete blocks, [n, vocab // block, block], a view
    partial: torch.Tensor | None  # [n, 1, block], the incomplete block
    maxima: torch.Tensor  # [n, ceil(vocab / block)]

    @classmethod
    def from_logits(cls, logits: torch.Tensor, block: int = BLOCK) -> BlockedLogits:
        """Take the maximum of each block of `logits` [n, vocab]."""
        rows, vocab = logits.shape
        if vocab < block:
            return cls.from_logits(pad(logits, (0, block - vocab), value=-torch.inf), block)
        num_full, rest = divmod(vocab, block)
        full = logits[:, : num_full * block].view(rows, num_full, block)
        if rest == 0:
            return cls(logits, full, None, full.amax(-1))
        partial = pad(logits[:, -rest:], (0, block - rest), value=-torch.inf).view(rows, 1, block)
        return cls(logits, full, partial, torch.cat((full.amax(-1), partial.amax(-1)), dim=1))

    def gather_blocks(self, rows: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
        """Return the logits [m, b, block] of the blocks [m, b] of the rows [m]."""
        rows = rows[:, None]
        if self.partial is None:
            return self.full[rows, blocks]
        num_full = self.full.shape[1]
        inside = self.full[rows, blocks.clamp(max=num_full - 1)]
        return torch.where((blocks == num_full)[:, :, None], self.partial[rows.squeeze(1)], inside)


def best_token(blocked: BlockedLogits, rows: torch.Tensor) -> torch.Tensor:
    """Return the id [m] int64 of the largest logit in each of the rows [m] int64; on ties, the lowest id."""
    block = blocked.maxima[rows].argmax(-1, keepdim=True)
    inside = blocked.gather_blocks(rows, block).squeeze(1)
    return block.squeeze(1) * blocked.full.shape[2] + inside.argmax(-1)


def best_tokens(blocked: BlockedLogits, rows: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the `count` best tokens of each row, the best first.

    Args:
        blocked: Logits in blocks of `BLOCK`.
        rows: [m] int64, row indices in the logits.
        count: Maximum number of tokens per row.

    Returns:
        ids: [m, width] int64, where width is `count`, or less if there are fewer tokens. Ids beyond the vocabulary,
            which pad its last block, come after all tokens.
        logits: [m, width] float32, with -inf for ids beyond the vocabulary.
    """
    starts = torch.arange(0, blocked.maxima.shape[1] * BLOCK, BLOCK, device=rows.device).expand(len(rows), -1)
    block = _top(blocked.maxima[rows], starts, count)
    values, ids = _gather_small_blocks(blocked.gather_blocks(rows, block), starts.gather(1, block), count)
    best = _top(values, ids, count, ordered=True)
    return ids.gather(1, best), values.gather(1, best)


def _gather_small_blocks(values: torch.Tensor, starts: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits of the best small blocks, and their ids, from blocks [m, b, 64] with first ids [m, b]."""
    small = values.view(len(values), -1, _SMALL_BLOCK)
    small_starts = starts[:, :, None] + torch.arange(0, BLOCK, _SMALL_BLOCK, device=starts.device)
    small_starts = small_starts.flatten(1)
    block = _top(small.amax(-1), small_starts, count)
    best = small[torch.arange(len(small), device=small.device)[:, None], block]
    ids = small_starts.gather(1, block)[:, :, None] + torch.arange(_SMALL_BLOCK, device=starts.device)
    return best.flatten(1), ids.flatten(1)


def _top(values: torch.Tensor, ids: torch.Tensor, count: int, *, ordered: bool = False) -> torch.Tensor:
    """Return the indices [m, min(count, n)] int64 of the best `values` [m, n]. Ties go to the lowest of `ids` [m, n].

    The search runs on int64 keys that are all different, so the result of top-k is unique. A key's high half is the
    bits of the float32 value. For negative values all bits but the sign are inverted, so that bits sort like floats.
    Adding zero turns -0.0 into 0.0.
    """
    bits = (values + 0.0).view(torch.int32)
    keys = ((bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(torch.int64) << 32) - ids
    return keys.topk(min(count, keys.shape[1]), sorted=ordered).indices
