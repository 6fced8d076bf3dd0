"""Sampling as a textbook writes it: one row, plain Python floats, a full sort."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from model.sampling.sampling import SamplingBatch, SamplingRow, sample
from model.sampling.uniform import uniform_bits

NUDGES = (-1e-6, 0.0, 1e-6)  # float32 rounding may tip a comparison that is this close


def draw(logits: torch.Tensor, rows: Sequence[SamplingRow]) -> list[int]:
    """The code under test."""
    return sample(logits.clone(), SamplingBatch.from_rows(rows, "cpu")).tolist()


def penalised(logits: Sequence[float], row: SamplingRow) -> list[float]:
    """Penalties and bans, token by token."""
    changed = list(logits)
    for token in {*row.prompt_ids, *row.output_ids}:
        factor = row.repetition_penalty
        changed[token] = changed[token] / factor if changed[token] > 0 else changed[token] * factor
    for token in row.output_ids:
        changed[token] -= row.frequency_penalty
    for token in set(row.output_ids):
        changed[token] -= row.presence_penalty
    for token in row.banned_ids:
        changed[token] = -math.inf
    return changed


def kept(logits: Sequence[float], row: SamplingRow) -> dict[int, float]:
    """Probability of each token that the filters keep, in the order of the inverse CDF."""
    best = max(logits)
    weights = {token: math.exp((logit - best) / row.temperature) for token, logit in enumerate(logits)}
    ranked = sorted(weights, key=lambda token: (-logits[token], token))
    ranked = [token for token in ranked if weights[token] >= row.min_p]
    if row.top_k:
        ranked = ranked[: row.top_k]
    total = sum(weights[token] for token in ranked)
    nucleus: list[int] = []
    mass = 0.0
    for token in ranked:
        if nucleus and mass >= row.top_p * total:
            break
        nucleus.append(token)
        mass += weights[token]
    if row.top_k == 0 and row.top_p >= 1:
        nucleus.sort()
    return {token: weights[token] / mass for token in nucleus}


def possible_draws(logits: Sequence[float], row: SamplingRow) -> set[int]:
    """What the row may draw: one token, or a few where a comparison is within rounding."""
    uniform = int(uniform_bits(torch.tensor([row.seed]), torch.tensor([row.position]))) / 2**32
    possible = set()
    for top_p_nudge in NUDGES if row.top_p < 1 else (0.0,):
        for min_p_nudge in NUDGES if row.min_p else (0.0,):
            nudged = replace(
                row, top_p=max(0.0, row.top_p + top_p_nudge), min_p=max(0.0, min(1.0, row.min_p + min_p_nudge))
            )
            possible |= {_inverse_cdf(kept(logits, nudged), uniform + nudge) for nudge in NUDGES}
    return possible


def _inverse_cdf(probabilities: dict[int, float], uniform: float) -> int:
    end = 0.0
    for token, probability in probabilities.items():
        end += probability
        if end > uniform:
            return token
    return token
