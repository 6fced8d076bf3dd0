"""Drawing a token by the inverse CDF: from tokens ranked best first, or from the whole vocabulary in id order.

The filters are vLLM's, in its order: temperature, min_p (against the best token), top_k, then top_p on what is left.
`ranked` draws look at the best few tokens only where those decide; the result is exact either way, because weights are
integers (`model.sampling.fixed_point`) and ranks are total (`model.sampling.top_k`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn.functional import pad

from model.sampling.fixed_point import fraction_of, token_weights
from model.sampling.top_k import BLOCK, BlockedLogits, best_tokens
from model.sampling.uniform import uniform_bits

_ROWS_AT_ONCE = 4  # whole-vocabulary weights take 1.2 MB a row: they stay in a CPU's cache
_ROWS_AT_ONCE_ON_A_GPU = 64  # where 64 rows take hardly longer than 4, and 80 MB are little
_NUCLEUS_WIDTHS = (128, 1024)  # a nucleus is looked for in these many best tokens before the whole row is sorted


@dataclass(frozen=True)
class DrawSettings:
    """Settings of m rows that are drawn the same way, each [m]."""

    rows: torch.Tensor  # int64, where the rows stand in the logits
    temperature: torch.Tensor  # float32, above 0
    top_k: torch.Tensor  # int64, at least 1; the size of the vocabulary or more keeps all
    top_p: torch.Tensor  # int64, multiples of 2**-32
    seeds: torch.Tensor  # int64
    positions: torch.Tensor  # int64
    min_weight: torch.Tensor | None  # int64, min_p as a weight of `model.sampling.fixed_point`; None: no row has one

    def at(self, chosen: slice | torch.Tensor) -> DrawSettings:
        """The settings of some of the rows."""
        return DrawSettings(
            rows=self.rows[chosen],
            temperature=self.temperature[chosen],
            top_k=self.top_k[chosen],
            top_p=self.top_p[chosen],
            seeds=self.seeds[chosen],
            positions=self.positions[chosen],
            min_weight=None if self.min_weight is None else self.min_weight[chosen],
        )

    def parts(self) -> Iterator[DrawSettings]:
        """The same rows, few at a time."""
        size = _ROWS_AT_ONCE if self.rows.device.type == "cpu" else _ROWS_AT_ONCE_ON_A_GPU
        for start in range(0, len(self.rows), size):
            yield self.at(slice(start, start + size))


def draw_top_k(blocked: BlockedLogits, settings: DrawSettings, width: int) -> torch.Tensor:
    """Draw rows whose top_k is at most `width`.

    Returns:
        [m] int64, token ids.
    """
    ids, values = best_tokens(blocked, settings.rows, width)
    weights = _ranked_weights(values, settings)
    return _draw_ranked(ids, weights, weights.sum(-1), settings)


def draw_nucleus(blocked: BlockedLogits, settings: DrawSettings) -> torch.Tensor:
    """Draw rows whose top_p looks at the whole vocabulary.

    A row is done as soon as the best tokens looked at hold its nucleus; only flat rows are ever sorted.
    """
    totals = torch.cat([_vocabulary_weights(blocked, part).sum(-1) for part in settings.parts()])
    drawn = torch.empty_like(settings.rows)
    pending = torch.arange(len(drawn), device=drawn.device)
    for width in _NUCLEUS_WIDTHS:
        part = settings.at(pending)
        ids, values = best_tokens(blocked, part.rows, width)
        weights = _ranked_weights(values, part)
        drawn[pending] = _draw_ranked(ids, weights, totals[pending], part)
        pending = pending[weights.sum(-1) < fraction_of(totals[pending], part.top_p)]
        if len(pending) == 0:
            return drawn
    drawn[pending] = draw_sorted(blocked, settings.at(pending))
    return drawn


def draw_sorted(blocked: BlockedLogits, settings: DrawSettings) -> torch.Tensor:
    """Draw by sorting whole rows: for a large top_k, or a nucleus of very many tokens."""
    drawn = []
    for part in settings.parts():
        values, ids = blocked.logits.index_select(0, part.rows).sort(dim=-1, descending=True, stable=True)
        weights = _ranked_weights(values, part)
        drawn.append(_draw_ranked(ids, weights, weights.sum(-1), part))
    return torch.cat(drawn)


def draw_any(blocked: BlockedLogits, settings: DrawSettings) -> torch.Tensor:
    """Draw rows with neither top_k nor top_p: the CDF runs in id order.

    Two levels: the sums of the blocks give the block, the weights inside it the token.
    """
    drawn = []
    for part in settings.parts():
        weights = _vocabulary_weights(blocked, part)
        blocks = pad(weights, (0, -weights.shape[1] % BLOCK)).view(len(weights), -1, BLOCK)
        ends = blocks.sum(-1).cumsum(-1)
        target = fraction_of(ends[:, -1], uniform_bits(part.seeds, part.positions))
        block = _first_above(ends, target)
        inside = blocks[torch.arange(len(block), device=block.device), block].cumsum(-1)
        start = ends.gather(1, block[:, None]).squeeze(1) - inside[:, -1]
        drawn.append(block * BLOCK + _first_above(inside, target - start))
    return torch.cat(drawn)


def _vocabulary_weights(blocked: BlockedLogits, settings: DrawSettings) -> torch.Tensor:
    """Weights of every token, [m, vocab] int64, those below min_p at 0."""
    best = blocked.maxima[settings.rows].amax(-1)
    return _without_unlikely(
        token_weights(blocked.logits.index_select(0, settings.rows), best, settings.temperature), settings
    )


def _ranked_weights(values: torch.Tensor, settings: DrawSettings) -> torch.Tensor:
    """Weights of ranked logits [m, width], those below min_p or beyond top_k at 0."""
    weights = token_weights(values, values[:, 0], settings.temperature)
    weights.masked_fill_(torch.arange(values.shape[1], device=values.device) >= settings.top_k[:, None], 0)
    return _without_unlikely(weights, settings)


def _without_unlikely(weights: torch.Tensor, settings: DrawSettings) -> torch.Tensor:
    if settings.min_weight is None:
        return weights
    return weights.masked_fill_(weights < settings.min_weight[:, None], 0)


def _draw_ranked(
    ids: torch.Tensor, weights: torch.Tensor, totals: torch.Tensor, settings: DrawSettings
) -> torch.Tensor:
    """Apply top_p and draw. `totals` [m]: the weight of all tokens that top_k and min_p leave."""
    limit = fraction_of(totals, settings.top_p)
    ends = weights.cumsum(-1)
    kept = ends.masked_fill(ends - weights >= limit[:, None], 0).amax(-1)  # 0, too, leaves the best token
    target = fraction_of(kept, uniform_bits(settings.seeds, settings.positions))
    return ids.gather(1, _first_above(ends, target)[:, None]).squeeze(1)


def _first_above(ends: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Index [m] of the first of the rising `ends` [m, n] above `target` [m]; 0 in a row that weighs nothing."""
    index = (ends <= target[:, None]).sum(-1)
    return index.masked_fill_(index == ends.shape[1], 0)
