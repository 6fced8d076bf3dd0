"""Sampling: choosing each row's next token from its logits.

A row's token depends only on its own logits and its own settings, and on nothing else in the batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch

from model.sampling.device_copy import on_device
from model.sampling.draw import DrawSettings, draw_any, draw_nucleus, draw_sorted, draw_top_k
from model.sampling.fixed_point import WEIGHT_BITS, fraction_bits
from model.sampling.penalties import Penalties, PenaltySettings
from model.sampling.token_masks import TokenMasks
from model.sampling.top_k import BLOCK, LONG_BLOCK, BlockedLogits, best_token

_GREEDY_BELOW = 1e-5  # as in vLLM: a smaller temperature gives the best token, too, but could overflow
_TOP_K_WIDTHS = (32, 128, 1024)  # rows are drawn together if the same of these is the smallest that holds their top_k
_ALL_TOKENS = 2**62  # a top_k that keeps all tokens


@dataclass(frozen=True, slots=True)
class SamplingRow:
    """Sampling settings of one row. Ranges are those of `jobs.records.sampling.RANGES`."""

    temperature: float = 0.0  # 0 is greedy: the largest logit, and the lowest id on ties
    top_k: int = 0  # 0 keeps all tokens; among equal logits the lowest ids are kept
    top_p: float = 1.0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0  # from 0 to 2**63 - 1
    position: int = 0  # position in the sequence of the token to choose
    prompt_ids: Collection[int] = ()  # read only for a repetition penalty; one set for all steps is fastest
    output_ids: Collection[int] = ()  # read only if a penalty is set; includes repeated tokens
    banned_ids: Collection[int] = ()  # never chosen, for example eos before min_tokens
    allowed_ids: Collection[int] = ()  # if not empty, only these are chosen
    bias: Collection[tuple[int, float]] = ()  # pairs of token and what is added to its logit; each token once
    logprobs: int | None = None  # number of likeliest tokens to name; None: no log-probabilities. Changes no choice
    scored_ids: tuple[int, ...] = ()  # tokens whose log-probabilities are wanted. Changes no choice

    @property
    def asks(self) -> bool:
        """True if log-probabilities are wanted, so that all logits are needed."""
        return self.logprobs is not None or bool(self.scored_ids)

    @property
    def greedy(self) -> bool:
        """True if no random number is used."""
        return self.temperature < _GREEDY_BELOW

    @property
    def penalised(self) -> bool:
        """True if earlier tokens change the logits."""
        return self.presence_penalty != 0 or self.frequency_penalty != 0 or self.repetition_penalty != 1

    @property
    def reach(self) -> int | None:
        """Number of largest logits that can be chosen, without ties with the last one. None if they change first."""
        if self.penalised or self.allowed_ids or self.bias or self.banned_ids:
            return None
        return 1 if self.greedy else self.top_k or _ALL_TOKENS


@dataclass(frozen=True)
class SamplingBatch:
    """A step's rows on the device, grouped by the method of drawing."""

    num_rows: int
    greedy: torch.Tensor | None  # [g] int64, row indices
    top_k: tuple[tuple[int, DrawSettings], ...]  # pairs of width and rows, for a small top_k
    nucleus: DrawSettings | None  # rows with top_p over the whole vocabulary
    sorted: DrawSettings | None  # rows with a large top_k
    any: DrawSettings | None  # rows with neither top_k nor top_p
    penalties: Penalties | None
    banned: tuple[torch.Tensor, torch.Tensor] | None  # rows and ids, each [b] int64
    allowed: tuple[torch.Tensor, torch.Tensor] | None  # rows and ids, each [a] int64: all that these rows may choose
    bias: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None  # rows and ids [c] int64, addends [c] float32
    masks: TokenMasks | None  # tokens that constrained rows may choose

    @property
    def only_compares(self) -> bool:
        """True if every row is greedy and nothing changes its logits."""
        plain = self.penalties is None and self.banned is None and self.allowed is None and self.bias is None
        return plain and self.greedy is not None and len(self.greedy) == self.num_rows

    def changes(self, logits: torch.Tensor) -> bool:
        """Return whether `sample` changes these logits in place."""
        return self.masks is not None or (logits.dtype == torch.float32 and not self.only_compares)

    @classmethod
    def from_rows(
        cls, rows: Sequence[SamplingRow], device: torch.device | str, masks: TokenMasks | None = None
    ) -> SamplingBatch:
        """Build the batch. `rows[i]` holds the settings of row i of the logits. `masks` is on the device."""
        device = torch.device(device)
        by_draw: dict[str | int, list[int]] = {}
        for index, row in enumerate(rows):
            by_draw.setdefault(_way_to_draw(row), []).append(index)
        greedy = by_draw.get("greedy")
        settings = {way: _draw_settings(rows, members, device) for way, members in by_draw.items() if way != "greedy"}
        return cls(
            num_rows=len(rows),
            greedy=on_device(greedy, torch.int64, device) if greedy else None,
            top_k=tuple((width, settings[width]) for width in _TOP_K_WIDTHS if width in settings),
            nucleus=settings.get("nucleus"),
            sorted=settings.get("sorted"),
            any=settings.get("any"),
            penalties=_penalties(rows, device),
            banned=_pairs(((index, token) for index, row in enumerate(rows) for token in row.banned_ids), device),
            allowed=_pairs(((index, token) for index, row in enumerate(rows) for token in row.allowed_ids), device),
            bias=_bias(rows, device),
            masks=masks,
        )


def sample(logits: torch.Tensor, batch: SamplingBatch) -> torch.Tensor:
    """Choose a token for each row.

    A row's filters are applied in vLLM's order: mask, allowed and banned ids, bias, penalties, temperature, min_p,
    top_k, top_p. Then one uniform random number, a function of (seed, position), selects the token by the inverse CDF.
    A row of only -inf gives token 0.

    Args:
        logits: [n, vocab] on the batch's device, finite or -inf, with vocab at most 2**19. Rows with a mask, and
            float32 rows with penalties, a bias, or allowed or banned ids, are changed in place; other rows are not. An
            all-greedy batch is computed in the logits' own type, every other batch in float32.
        batch: The settings of the n rows.

    Returns:
        [n] int64, token ids.
    """
    if batch.masks is not None:
        batch.masks.apply_(logits)
    if not batch.only_compares:
        logits = logits.float()
    _change_logits_(logits, batch)
    blocked = BlockedLogits.from_logits(logits, LONG_BLOCK if batch.only_compares else BLOCK)
    chosen = torch.empty(batch.num_rows, dtype=torch.int64, device=logits.device)
    if batch.greedy is not None:
        chosen[batch.greedy] = best_token(blocked, batch.greedy)
    for width, settings in batch.top_k:
        chosen[settings.rows] = draw_top_k(blocked, settings, width)
    if batch.nucleus is not None:
        chosen[batch.nucleus.rows] = draw_nucleus(blocked, batch.nucleus)
    if batch.sorted is not None:
        chosen[batch.sorted.rows] = draw_sorted(blocked, batch.sorted)
    if batch.any is not None:
        chosen[batch.any.rows] = draw_any(blocked, batch.any)
    return chosen


def _change_logits_(logits: torch.Tensor, batch: SamplingBatch) -> None:
    """Apply allowed and banned ids, bias and penalties to the logits in place."""
    if batch.allowed is not None:
        _bar_others_(logits, batch.allowed)
    if batch.banned is not None:
        logits[batch.banned] = -torch.inf
    if batch.bias is not None:
        indices, ids, addends = batch.bias
        logits[indices, ids] += addends
    if batch.penalties is not None:
        batch.penalties.apply_(logits)


def _way_to_draw(row: SamplingRow) -> str | int:
    """Return the row's method of drawing, which depends only on its settings. A number is one of `_TOP_K_WIDTHS`."""
    if row.greedy:
        return "greedy"
    if row.top_k == 0:
        return "nucleus" if row.top_p < 1 else "any"
    return next((width for width in _TOP_K_WIDTHS if row.top_k <= width), "sorted")


def _draw_settings(rows: Sequence[SamplingRow], members: list[int], device: torch.device) -> DrawSettings:
    chosen = [rows[index] for index in members]
    integers = [
        (
            index,
            row.top_k or _ALL_TOKENS,
            fraction_bits(row.top_p),
            round(row.min_p * 2**WEIGHT_BITS),
            row.seed,
            row.position,
        )
        for index, row in zip(members, chosen, strict=True)
    ]
    indices, top_k, top_p, min_weight, seeds, positions = on_device(integers, torch.int64, device).T
    return DrawSettings(
        rows=indices,
        temperature=on_device([row.temperature for row in chosen], torch.float32, device),
        top_k=top_k,
        top_p=top_p,
        seeds=seeds,
        positions=positions,
        min_weight=min_weight if any(row.min_p for row in chosen) else None,
    )


def _penalties(rows: Sequence[SamplingRow], device: torch.device) -> Penalties | None:
    members = [index for index, row in enumerate(rows) if row.penalised]
    if not members:
        return None
    settings = [
        PenaltySettings(
            presence=row.presence_penalty,
            frequency=row.frequency_penalty,
            repetition=row.repetition_penalty,
            prompt_ids=row.prompt_ids,
            output_ids=row.output_ids,
        )
        for row in (rows[index] for index in members)
    ]
    return Penalties.from_settings(members, settings, device)


def _pairs(pairs: Iterable[tuple[int, int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return rows and tokens on the device, or None if there are no pairs."""
    found = list(pairs)
    if not found:
        return None
    indices, ids = on_device(found, torch.int64, device).T
    return indices, ids


def _bias(rows: Sequence[SamplingRow], device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    pairs = _pairs(((index, token) for index, row in enumerate(rows) for token, _ in row.bias), device)
    if pairs is None:
        return None
    return *pairs, on_device([addend for row in rows for _, addend in row.bias], torch.float32, device)


def _bar_others_(logits: torch.Tensor, allowed: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Set the logits of the rows in `allowed` to -inf, except those of its tokens."""
    kept = logits[allowed]
    logits[allowed[0]] = -torch.inf
    logits[allowed] = kept
