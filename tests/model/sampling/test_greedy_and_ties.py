from __future__ import annotations

from typing import Any

import pytest
import torch

from model.sampling.sampling import SamplingRow
from tests.model.sampling.naive_sampling import draw

GREEDY = SamplingRow()
QWEN3_VOCABULARY = 151_936


@pytest.mark.parametrize("vocab", [1, 63, 64, 65, 1000, 1023, 1024, 1025, QWEN3_VOCABULARY])
def test_greedy_takes_the_largest_logit_and_on_ties_the_lowest_id(vocab: int) -> None:
    logits = torch.randn(6, vocab, generator=torch.Generator().manual_seed(vocab)).bfloat16().float()
    best = logits.amax(-1, keepdim=True)
    lowest_ids = [row.nonzero()[0].item() for row in logits == best]
    assert draw(logits, [GREEDY] * 6) == lowest_ids
    assert draw(logits, [SamplingRow(temperature=2.0, top_k=1, seed=i) for i in range(6)]) == lowest_ids


def test_a_temperature_too_small_to_divide_by_is_greedy() -> None:
    logits = torch.randn(1, 100, generator=torch.Generator().manual_seed(0))
    assert draw(logits, [SamplingRow(temperature=1e-9)]) == draw(logits, [GREEDY])


def test_of_equal_logits_top_k_keeps_the_lowest_ids() -> None:
    logits = torch.zeros(1, 5000)
    drawn = {draw(logits, [SamplingRow(temperature=1.0, top_k=7, seed=seed)])[0] for seed in range(200)}
    assert drawn == set(range(7))


def test_positive_and_negative_zero_are_equal() -> None:
    logits = torch.zeros(1, 300)
    logits[0, ::2] = -0.0
    drawn = {draw(logits, [SamplingRow(temperature=1.0, top_k=4, seed=seed)])[0] for seed in range(100)}
    assert drawn == {0, 1, 2, 3}


def test_the_twenty_best_of_qwen3s_vocabulary_are_those_of_a_full_sort() -> None:
    logits = torch.randn(4, QWEN3_VOCABULARY, generator=torch.Generator().manual_seed(3)).bfloat16().float()
    sorted_ids = logits.sort(dim=-1, descending=True, stable=True).indices[:, :20]
    for seed in range(30):
        drawn = draw(logits, [SamplingRow(temperature=50.0, top_k=20, seed=seed + 100 * i) for i in range(4)])
        assert all(token in sorted_ids[i] for i, token in enumerate(drawn))


def test_a_token_of_minus_infinity_is_never_drawn() -> None:
    logits = torch.full((1, 700), -torch.inf)
    logits[0, [5, 650]] = torch.tensor([1.0, 0.9])
    settings: list[dict[str, Any]] = [{}, {"top_k": 20}, {"top_p": 0.99}, {"top_k": 300}, {"top_k": 9999}]
    for setting in settings:
        rows = [SamplingRow(temperature=1.0, seed=seed, **setting) for seed in range(40)]
        assert set(draw(logits.expand(40, -1), rows)) == {5, 650}


def test_a_row_of_minus_infinity_alone_gives_token_zero() -> None:
    logits = torch.full((1, 700), -torch.inf)
    settings: list[dict[str, Any]] = [{}, {"top_k": 20}, {"top_p": 0.9}, {"top_k": 300}, {"min_p": 0.1}]
    for setting in settings:
        assert draw(logits, [SamplingRow(temperature=1.0, **setting)]) == [0]
    assert draw(logits, [SamplingRow(temperature=0.0)]) == [0]


def test_a_top_k_beyond_the_vocabulary_keeps_all_of_it() -> None:
    logits = torch.zeros(1, 10)
    drawn = {draw(logits, [SamplingRow(temperature=1.0, top_k=1_000_000, seed=seed)])[0] for seed in range(200)}
    assert drawn == set(range(10))


def test_a_banned_token_gives_way_to_the_next_best() -> None:
    logits = torch.tensor([[1.0, 5.0, 3.0], [1.0, 5.0, 3.0]])
    assert draw(logits, [SamplingRow(banned_ids=(1,)), GREEDY]) == [2, 1]
