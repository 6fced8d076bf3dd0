"""The best tokens of each row, without sorting the vocabulary.

The k best elements of a row lie in the k blocks whose best elements are the best: the element ranked r has at most
r - 1 blocks before its own. So the maximum of every block is taken in one pass at the speed of memory, and only k
blocks are looked into. Equal logits (common after bfloat16) are ranked by id, lowest first, here and everywhere.
"""

from __future__ import annotations

import torch

BLOCK = 64  # logits a block: the narrowest that PyTorch's CPU kernel reduces at full speed


def block_maxima(logits: torch.Tensor) -> torch.Tensor:
    """The largest logit of each block.

    Args:
        logits: [n, vocab] float32.

    Returns:
        [n, ceil(vocab / 64)] float32.
    """
    rows, vocab = logits.shape
    whole = vocab // BLOCK
    maxima = logits[:, : whole * BLOCK].view(rows, whole, BLOCK).amax(-1)
    if whole * BLOCK == vocab:
        return maxima
    return torch.cat((maxima, logits[:, whole * BLOCK :].amax(-1, keepdim=True)), dim=1)


def best_token(logits: torch.Tensor, maxima: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The id of the largest logit, the lowest one on ties.

    Args:
        logits: [n, vocab] float32.
        maxima: [n, blocks], `block_maxima(logits)`.
        rows: [m] int64, the rows to look at.

    Returns:
        [m] int64.
    """
    blocks = maxima[rows].argmax(-1, keepdim=True)
    ids, values = _look_into(logits, rows, blocks)
    return ids.gather(1, values.argmax(-1, keepdim=True)).squeeze(1)


def best_tokens(
    logits: torch.Tensor, maxima: torch.Tensor, rows: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` best tokens, the best first.

    Returns:
        ids: [m, width] int64. width is `count`, or less where the vocabulary is smaller. Past the end of the vocabulary
            there are ids of no token, with logits of -inf, ranked after every token.
        logits: [m, width] float32.
    """
    block_keys = _ranking_keys(maxima[rows], torch.arange(maxima.shape[1], device=maxima.device))
    blocks = _ids_of(block_keys.topk(min(count, maxima.shape[1]), sorted=False).values)
    ids, values = _look_into(logits, rows, blocks)
    best = _ids_of(_ranking_keys(values, ids).topk(min(count, ids.shape[1])).values)
    return best, _values_at(logits, rows, best)


def _look_into(logits: torch.Tensor, rows: torch.Tensor, blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and logits of the given blocks [m, b], both [m, b * 64]."""
    ids = blocks[:, :, None] * BLOCK + torch.arange(BLOCK, device=blocks.device)
    ids = ids.flatten(1)
    return ids, _values_at(logits, rows, ids)


def _values_at(logits: torch.Tensor, rows: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """The logits of ids [m, w]; -inf past the end of the vocabulary."""
    vocab = logits.shape[1]
    values = logits[rows[:, None], ids.clamp(max=vocab - 1)]
    return values if vocab % BLOCK == 0 else values.masked_fill_(ids >= vocab, -torch.inf)


def _ranking_keys(values: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """int64 keys that rank by value, then by lowest id; all different, so a top-k of them is never arbitrary.

    The bits of a float32, its negative half turned round, order as the floats do: they are the key's high half. Adding
    zero first makes -0.0 and 0.0 one value.
    """
    bits = (values + 0.0).view(torch.int32)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.to(torch.int64) << 32) - ids


def _ids_of(keys: torch.Tensor) -> torch.Tensor:
    return -keys & 0xFFFFFFFF
