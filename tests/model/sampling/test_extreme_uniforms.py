"""The ends of the inverse CDF, reached with seeds worked out backwards from the uniform."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model.sampling.sampling import SamplingRow
from model.sampling.uniform import uniform_bits
from tests.model.sampling.naive_sampling import draw

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def unshift(z: int, bits: int) -> int:
    """Undo `z ^ (z >> bits)`."""
    undone = z
    for _ in range(64 // bits + 1):
        undone = z ^ (undone >> bits)
    return undone


def unmix(z: int) -> int:
    """Undo SplitMix64's mixer."""
    z = unshift(z, 31) * pow(0x94D049BB133111EB, -1, 2**64) & MASK
    z = unshift(z, 27) * pow(0xBF58476D1CE4E5B9, -1, 2**64) & MASK
    return unshift(z, 30)


def seed_for(bits: int) -> int:
    """A seed whose uniform at position 0 is `bits / 2**32`."""
    seeds = ((unmix((unmix((bits << 32) + low) - GOLDEN) & MASK) - GOLDEN) & MASK for low in range(1000))
    return next(seed for seed in seeds if seed < 2**63)


FILTERS = [{}, {"top_k": 5}, {"top_p": 0.9}, {"top_k": 2000}, {"min_p": 0.01}]
LOWEST, HIGHEST = seed_for(0), seed_for(2**32 - 1)


def test_the_seeds_reach_both_ends() -> None:
    bits = uniform_bits(torch.tensor([LOWEST, HIGHEST]), torch.tensor([0, 0]))
    assert bits.tolist() == [0, 2**32 - 1]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_a_token_of_no_weight_is_not_drawn_at_either_end(filters: dict[str, Any]) -> None:
    logits = torch.full((1, 3000), -torch.inf)
    logits[0, [700, 1500]] = 1.0
    lowest, highest = draw(
        logits.expand(2, -1), [SamplingRow(temperature=1.0, seed=seed, **filters) for seed in (LOWEST, HIGHEST)]
    )
    assert (lowest, highest) == (700, 1500)


def test_the_smallest_top_p_leaves_the_best_token() -> None:
    logits = torch.zeros(2, 3000)
    logits[:, 1234] = 0.001
    rows = [SamplingRow(temperature=1.0, top_p=1e-12, seed=seed) for seed in (LOWEST, HIGHEST)]
    assert draw(logits, rows) == [1234, 1234]


def test_a_draw_on_the_border_belongs_to_the_next_token() -> None:
    half = seed_for(2**31)
    assert draw(torch.zeros(1, 2), [SamplingRow(temperature=1.0, seed=half)]) == [1]
    assert draw(torch.zeros(1, 2), [SamplingRow(temperature=1.0, top_k=2, seed=half)]) == [1]


@pytest.mark.parametrize("filters", [{}, {"top_k": 4}, {"top_k": 2000}], ids=str)
@pytest.mark.parametrize(("top_p", "kept"), [(0.25, 1), (0.5, 2), (0.500001, 3), (0.75, 3), (0.750001, 4)])
def test_a_top_p_that_is_reached_exactly_keeps_nothing_more(filters: dict[str, Any], top_p: float, kept: int) -> None:
    """Four equal logits weigh a quarter each: the first ones that reach `top_p` together are kept."""
    rows = [SamplingRow(temperature=1.0, top_p=top_p, seed=seed, **filters) for seed in (LOWEST, HIGHEST)]
    logits = torch.full((2, 3000), -torch.inf)
    logits[:, [5, 70, 700, 1500]] = 1.0
    assert draw(logits, rows) == [5, (5, 70, 700, 1500)[kept - 1]]
