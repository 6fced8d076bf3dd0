"""The best tokens of each row, without sorting the vocabulary.

The k best elements of a row lie in the k blocks whose best elements are the best: the element ranked r has at most
r - 1 blocks before its own. So the maximum of every block is taken in one pass at the speed of memory, and only k
blocks are looked into, then k smaller blocks of those. Equal logits (common after bfloat16) are ranked by id, lowest
first, here and everywhere.
"""

from __future__ import annotations

import torch

BLOCK = 64  # logits a block: the narrowest that PyTorch's CPU kernel reduces at full speed
_SMALL_BLOCK = 8  # logits a block of the second round


def block_maxima(logits: torch.Tensor) -> torch.Tensor:
    """The largest logit of each block.

    Args:
        logits: [n, vocab] float32; vocab is a multiple of 64.

    Returns:
        [n, vocab / 64] float32.
    """
    return logits.view(len(logits), -1, BLOCK).amax(-1)


def best_token(logits: torch.Tensor, maxima: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The id of the largest logit, the lowest one on ties.

    Args:
        logits: [n, vocab] float32.
        maxima: [n, vocab / 64], `block_maxima(logits)`.
        rows: [m] int64, the rows to look at.

    Returns:
        [m] int64.
    """
    block = maxima[rows].argmax(-1)
    return block * BLOCK + logits.view(len(logits), -1, BLOCK)[rows, block].argmax(-1)


def best_tokens(
    logits: torch.Tensor, maxima: torch.Tensor, rows: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` best tokens, the best first; all of them where the vocabulary is smaller. Arguments as above.

    Returns:
        ids: [m, width] int64.
        logits: [m, width] float32.
    """
    starts = torch.arange(0, logits.shape[1], BLOCK, device=logits.device).expand(len(rows), -1)
    block = _top(maxima[rows], starts, count)
    values = logits.view(len(logits), -1, BLOCK)[rows[:, None], block]
    starts = starts.gather(1, block)
    values, starts = _look_into_small_blocks(values, starts, count)
    best = _top(values, starts, count, ordered=True)
    return starts.gather(1, best), values.gather(1, best)


def _look_into_small_blocks(
    values: torch.Tensor, starts: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """From blocks [m, b, 64] with first ids [m, b] to the logits of their best small blocks and these logits' ids."""
    small = values.view(len(values), -1, _SMALL_BLOCK)
    small_starts = starts[:, :, None] + torch.arange(0, BLOCK, _SMALL_BLOCK, device=starts.device)
    small_starts = small_starts.flatten(1)
    block = _top(small.amax(-1), small_starts, count)
    values = small[torch.arange(len(small), device=small.device)[:, None], block]
    ids = small_starts.gather(1, block)[:, :, None] + torch.arange(_SMALL_BLOCK, device=starts.device)
    return values.flatten(1), ids.flatten(1)


def _top(values: torch.Tensor, ids: torch.Tensor, count: int, *, ordered: bool = False) -> torch.Tensor:
    """Where the best of `values` [m, n] are, by value and then by lowest of `ids` [m, n]: [m, min(count, n)] int64.

    The int64 keys are all different, so that a top-k of them is never arbitrary. The bits of a float32, its negative
    half turned round, order as the floats do: they are a key's high half. Adding zero makes -0.0 and 0.0 one value.
    """
    bits = (values + 0.0).view(torch.int32)
    keys = ((bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(torch.int64) << 32) - ids
    return keys.topk(min(count, keys.shape[1]), sorted=ordered).indices
