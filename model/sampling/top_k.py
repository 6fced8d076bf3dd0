"""The best tokens of each row, without sorting the vocabulary.

The k best elements of a row lie in the k blocks whose best elements are the best: the element ranked r has at most
r - 1 blocks before its own. So the maximum of every block is taken in one pass at the speed of memory, and only k
blocks are looked into, then k smaller blocks of those. Equal logits (common after bfloat16) are ranked by id, lowest
first, here and everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import pad

BLOCK = 64  # logits a block: the narrowest that PyTorch's CPU kernel reduces at full speed in float32
LONG_BLOCK = 1024  # where only the best token is looked for: at full speed in bfloat16, too
_SMALL_BLOCK = 8  # logits a block of the second round


@dataclass(frozen=True)
class BlockedLogits:
    """Logits seen as blocks, without a copy of them; a last incomplete block is filled up with -inf."""

    logits: torch.Tensor  # [n, vocab]
    whole: torch.Tensor  # [n, vocab // block, block], a view
    last: torch.Tensor | None  # [n, 1, block], the incomplete block
    maxima: torch.Tensor  # [n, ceil(vocab / block)]

    @classmethod
    def from_logits(cls, logits: torch.Tensor, block: int = BLOCK) -> BlockedLogits:
        """Take the maximum of each block of `logits` [n, vocab]."""
        rows, vocab = logits.shape
        if vocab < block:
            return cls.from_logits(pad(logits, (0, block - vocab), value=-torch.inf), block)
        num_whole, rest = divmod(vocab, block)
        whole = logits[:, : num_whole * block].view(rows, num_whole, block)
        if rest == 0:
            return cls(logits, whole, None, whole.amax(-1))
        last = pad(logits[:, -rest:], (0, block - rest), value=-torch.inf).view(rows, 1, block)
        return cls(logits, whole, last, torch.cat((whole.amax(-1), last.amax(-1)), dim=1))

    def look_into(self, rows: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
        """The logits [m, b, block] of the blocks [m, b] of the rows [m]."""
        rows = rows[:, None]
        if self.last is None:
            return self.whole[rows, blocks]
        num_whole = self.whole.shape[1]
        inside = self.whole[rows, blocks.clamp(max=num_whole - 1)]
        return torch.where((blocks == num_whole)[:, :, None], self.last[rows.squeeze(1)], inside)


def best_token(blocked: BlockedLogits, rows: torch.Tensor) -> torch.Tensor:
    """The id of the largest logit of each of the rows [m] int64, the lowest one on ties: [m] int64."""
    block = blocked.maxima[rows].argmax(-1, keepdim=True)
    inside = blocked.look_into(rows, block).squeeze(1)
    return block.squeeze(1) * blocked.whole.shape[2] + inside.argmax(-1)


def best_tokens(blocked: BlockedLogits, rows: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` best tokens of the rows [m] int64, the best first.

    Args:
        blocked: In blocks of `BLOCK`.
        rows: Of the logits.
        count: Tokens at the most.

    Returns:
        ids: [m, width] int64. width is `count`, or less where there are fewer tokens. Ids past the vocabulary, which
            fill up its last block, come after every token.
        logits: [m, width] float32, -inf for those ids.
    """
    starts = torch.arange(0, blocked.maxima.shape[1] * BLOCK, BLOCK, device=rows.device).expand(len(rows), -1)
    block = _top(blocked.maxima[rows], starts, count)
    values, ids = _look_into_small_blocks(blocked.look_into(rows, block), starts.gather(1, block), count)
    best = _top(values, ids, count, ordered=True)
    return ids.gather(1, best), values.gather(1, best)


def _look_into_small_blocks(
    values: torch.Tensor, starts: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """From blocks [m, b, 64] with first ids [m, b] to the logits of their best small blocks and these logits' ids."""
    small = values.view(len(values), -1, _SMALL_BLOCK)
    small_starts = starts[:, :, None] + torch.arange(0, BLOCK, _SMALL_BLOCK, device=starts.device)
    small_starts = small_starts.flatten(1)
    block = _top(small.amax(-1), small_starts, count)
    best = small[torch.arange(len(small), device=small.device)[:, None], block]
    ids = small_starts.gather(1, block)[:, :, None] + torch.arange(_SMALL_BLOCK, device=starts.device)
    return best.flatten(1), ids.flatten(1)


def _top(values: torch.Tensor, ids: torch.Tensor, count: int, *, ordered: bool = False) -> torch.Tensor:
    """Where the best of `values` [m, n] are, by value and then by lowest of `ids` [m, n]: [m, min(count, n)] int64.

    The int64 keys are all different, so that a top-k of them is never arbitrary. The bits of a float32, its negative
    half turned round, order as the floats do: they are a key's high half. Adding zero makes -0.0 and 0.0 one value.
    """
    bits = (values + 0.0).view(torch.int32)
    keys = ((bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(torch.int64) << 32) - ids
    return keys.topk(min(count, keys.shape[1]), sorted=ordered).indices
