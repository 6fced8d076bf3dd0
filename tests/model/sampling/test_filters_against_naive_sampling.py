from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.sampling.sampling import SamplingBatch, SamplingRow, sample
from tests.model.sampling.naive_sampling import draw, penalised, possible_draws

TEMPERATURES = st.sampled_from([0.1, 0.6, 1.0, 2.5])
SEEDS = st.integers(0, 2**63 - 1)


def random_logits(shape_seed: int, vocab: int, *, ties: bool, spread: float = 3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(shape_seed)
    logits = torch.randn(1, vocab, generator=generator) * spread
    return logits.bfloat16().float() if ties else logits


def check(logits: torch.Tensor, row: SamplingRow) -> None:
    assert draw(logits, [row])[0] in possible_draws(penalised(logits[0].tolist(), row), row)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 10**6), st.integers(1, 400), st.booleans(), TEMPERATURES, SEEDS, st.sampled_from([1, 2, 20, 31, 50])
)
def test_top_k_draws_what_naive_sampling_draws(
    shape_seed: int, vocab: int, ties: bool, temperature: float, seed: int, top_k: int
) -> None:
    check(random_logits(shape_seed, vocab, ties=ties), SamplingRow(temperature=temperature, top_k=top_k, seed=seed))


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 10**6), st.integers(1, 400), st.booleans(), TEMPERATURES, SEEDS, st.floats(0.01, 1), st.floats(0, 1)
)
def test_top_p_and_min_p_draw_what_naive_sampling_draws(
    shape_seed: int, vocab: int, ties: bool, temperature: float, seed: int, top_p: float, min_p: float
) -> None:
    row = SamplingRow(temperature=temperature, top_p=top_p, min_p=min_p, seed=seed)
    check(random_logits(shape_seed, vocab, ties=ties), row)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10**6), st.integers(1, 300), SEEDS, st.integers(1, 400), st.floats(0.3, 1), st.floats(0, 0.3))
def test_all_filters_together_draw_what_naive_sampling_draws(
    shape_seed: int, vocab: int, seed: int, top_k: int, top_p: float, min_p: float
) -> None:
    row = SamplingRow(temperature=0.8, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed)
    check(random_logits(shape_seed, vocab, ties=True), row)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10**6), st.integers(1, 300), TEMPERATURES, SEEDS)
def test_without_filters_the_whole_vocabulary_is_drawn_from(
    shape_seed: int, vocab: int, temperature: float, seed: int
) -> None:
    check(random_logits(shape_seed, vocab, ties=True), SamplingRow(temperature=temperature, seed=seed))


@pytest.mark.parametrize("width", [128, 1024, 4000])
def test_a_nucleus_wider_than_the_best_few_is_found_in_the_next_wider_look(width: int) -> None:
    """A flat row: half of `width` tokens carry nearly all mass, so the narrower looks cannot hold its nucleus."""
    logits = random_logits(1, 5000, ties=False, spread=0.1)
    logits[:, width // 2 :] -= 8
    for seed in range(20):
        check(logits, SamplingRow(temperature=1.0, top_p=0.97, seed=seed))


@pytest.mark.parametrize("top_k", [100, 1000, 3000])
def test_a_wide_top_k_draws_what_naive_sampling_draws(top_k: int) -> None:
    logits = random_logits(2, 5000, ties=True, spread=0.3)
    for seed in range(20):
        check(logits, SamplingRow(temperature=1.0, top_k=top_k, top_p=0.99, seed=seed))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_penalties_and_bans_change_what_naive_sampling_changes(data: st.DataObject) -> None:
    vocab = data.draw(st.integers(2, 150))
    ids = st.lists(st.integers(0, vocab - 1), max_size=12)
    row = SamplingRow(
        temperature=0.7,
        top_k=data.draw(st.sampled_from([0, 5])),
        seed=data.draw(SEEDS),
        presence_penalty=data.draw(st.floats(-2, 2)),
        frequency_penalty=data.draw(st.floats(-2, 2)),
        repetition_penalty=data.draw(st.sampled_from([0.5, 1.0, 1.3])),
        prompt_ids=data.draw(ids),
        output_ids=data.draw(ids),
        banned_ids=data.draw(st.lists(st.integers(0, vocab - 1), max_size=vocab // 2)),
    )
    logits = random_logits(data.draw(st.integers(0, 10**6)), vocab, ties=True)
    check(logits, row)
    expected = torch.tensor([penalised(logits[0].tolist(), row)])
    sample(logits, SamplingBatch.from_rows([row], "cpu"))  # changes them in place
    torch.testing.assert_close(logits, expected)
