"""Choosing each row's next token from its logits.

The law: a row's token depends on its own logits and its own settings, and on nothing else in the batch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from model.sampling.device_copy import on_device
from model.sampling.draw import DrawSettings, draw_any, draw_nucleus, draw_sorted, draw_top_k
from model.sampling.fixed_point import WEIGHT_BITS, fraction_bits
from model.sampling.penalties import Penalties, PenaltySettings
from model.sampling.top_k import BLOCK, LONG_BLOCK, BlockedLogits, best_token

_GREEDY_BELOW = 1e-5  # as vLLM: a smaller temperature would only overflow on its way to the best token
_TOP_K_WIDTHS = (32, 128, 1024)  # rows with a top_k up to these are drawn together
_ALL_TOKENS = 2**62  # a top_k that keeps everything


@dataclass(frozen=True, slots=True)
class SamplingRow:
    """How one row is sampled. Ranges are those of `jobs.records.sampling.RANGES`."""

    temperature: float = 0.0  # 0 is greedy: the largest logit, the lowest id on ties
    top_k: int = 0  # 0 keeps all; equal logits at the border are kept by lowest id
    top_p: float = 1.0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0  # from 0 to 2**63 - 1
    position: int = 0  # the place in the sequence of the token to be chosen
    prompt_ids: Collection[int] = ()  # read only for a repetition penalty; a set, kept over the steps, is quickest
    output_ids: Collection[int] = ()  # read only when a penalty is set; with its repetitions
    banned_ids: Collection[int] = ()  # never chosen: eos before min_tokens, say

    @property
    def greedy(self) -> bool:
        """Whether no random number is used."""
        return self.temperature < _GREEDY_BELOW

    @property
    def penalised(self) -> bool:
        """Whether earlier tokens change the logits."""
        return self.presence_penalty != 0 or self.frequency_penalty != 0 or self.repetition_penalty != 1

    @property
    def reach(self) -> int | None:
        """So many of its largest logits decide, and those that equal the last of them. None: any may."""
        if self.penalised or self.banned_ids:
            return None
        return 1 if self.greedy else self.top_k or None


@dataclass(frozen=True)
class SamplingBatch:
    """A step's rows on the device, gathered by the way they are drawn."""

    num_rows: int
    greedy: torch.Tensor | None  # [g] int64, rows
    top_k: tuple[tuple[int, DrawSettings], ...]  # width and rows: a small top_k
    nucleus: DrawSettings | None  # top_p over the whole vocabulary
    sorted: DrawSettings | None  # a large top_k
    any: DrawSettings | None  # neither top_k nor top_p
    penalties: Penalties | None
    banned: tuple[torch.Tensor, torch.Tensor] | None  # rows and ids, each [b] int64

    @property
    def only_compares(self) -> bool:
        """Whether every row is greedy and nothing changes its logits."""
        plain = self.penalties is None and self.banned is None
        return plain and self.greedy is not None and len(self.greedy) == self.num_rows

    @classmethod
    def from_rows(cls, rows: Sequence[SamplingRow], device: torch.device | str) -> SamplingBatch:
        """Row i of the logits is sampled as `rows[i]` says."""
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
            banned=_banned(rows, device),
        )


def sample(logits: torch.Tensor, batch: SamplingBatch) -> torch.Tensor:
    """Choose a token for each row.

    A row's filters are applied in vLLM's order: banned ids, penalties, temperature, min_p, top_k, top_p; then one
    uniform, a function of (seed, position), picks by the inverse CDF. A row of -inf alone gives token 0.

    Args:
        logits: [n, vocab] on the batch's device, each finite or -inf; at most 2**19 tokens. Float32 rows with
            penalties or banned ids are changed in place, no others. A batch that only looks for the largest needs no
            more than the type the logits come in; others are computed in float32.
        batch: The settings of the n rows.

    Returns:
        [n] int64, token ids.
    """
    if not batch.only_compares:
        logits = logits.float()
    if batch.banned is not None:
        logits[batch.banned] = -torch.inf
    if batch.penalties is not None:
        batch.penalties.apply_(logits)
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


def _way_to_draw(row: SamplingRow) -> str | int:
    """A function of the row's own settings alone; a number is a width of `_TOP_K_WIDTHS`."""
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


def _banned(rows: Sequence[SamplingRow], device: torch.device) -> tuple[torch.Tensor, torch.Tensor] | None:
    pairs = [(index, token) for index, row in enumerate(rows) for token in row.banned_ids]
    if not pairs:
        return None
    indices, ids = on_device(pairs, torch.int64, device).T
    return indices, ids
