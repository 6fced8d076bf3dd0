"""A row's token depends on its own logits and settings, and on nothing else."""

from __future__ import annotations

import random

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.sampling.sampling import SamplingBatch, SamplingRow, sample
from tests.model.sampling.naive_sampling import draw

ROWS = st.builds(
    SamplingRow,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 3.0]),
    top_k=st.sampled_from([0, 0, 1, 20, 40, 200, 2000]),
    top_p=st.sampled_from([0.2, 0.9, 0.999, 1.0, 1.0]),
    min_p=st.sampled_from([0.0, 0.0, 0.1]),
    presence_penalty=st.sampled_from([0.0, 0.0, 1.5]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 1.2]),
    seed=st.integers(0, 2**63 - 1),
    position=st.integers(0, 2**17),
    prompt_ids=st.lists(st.integers(0, 999), max_size=5).map(tuple),
    output_ids=st.lists(st.integers(0, 999), max_size=5).map(tuple),
    banned_ids=st.lists(st.integers(0, 999), max_size=2).map(tuple),
)


def logits_for(count: int, vocab: int = 1500) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return (torch.randn(count, vocab, generator=generator) * 2).bfloat16().float()  # bfloat16 makes ties


@settings(deadline=None, max_examples=60)
@given(st.lists(ROWS, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_a_row_draws_the_same_token_alone_and_among_any_neighbours(
    rows: list[SamplingRow], shuffled: random.Random
) -> None:
    logits = logits_for(len(rows))
    together = draw(logits, rows)
    alone = [draw(logits[i : i + 1], [row])[0] for i, row in enumerate(rows)]
    order = list(range(len(rows)))
    shuffled.shuffle(order)
    in_another_order = draw(logits[order], [rows[i] for i in order])
    assert together == alone
    assert in_another_order == [together[i] for i in order]


def test_the_number_of_kernel_threads_changes_no_draw() -> None:
    rows = [SamplingRow(temperature=1.0, top_k=k, top_p=0.95, seed=k) for k in range(24)]
    logits = logits_for(24, vocab=20_000)
    one_thread = draw(logits, rows)
    torch.set_num_threads(2)
    assert draw(logits, rows) == one_thread


def test_rows_without_penalties_keep_their_logits() -> None:
    logits = logits_for(3)
    before = logits.clone()
    rows = [SamplingRow(), SamplingRow(temperature=1.0), SamplingRow(presence_penalty=1.0, output_ids=(4,))]
    sample(logits, SamplingBatch.from_rows(rows, "cpu"))
    assert torch.equal(logits[:2], before[:2])
    assert logits[2, 4] == before[2, 4] - 1


def test_another_seed_or_position_gives_another_sequence_and_the_same_one_repeats() -> None:
    logits = torch.zeros(64, 1000)

    def sequence(seed: int, start: int) -> list[int]:
        return draw(logits, [SamplingRow(temperature=1.0, seed=seed, position=start + i) for i in range(64)])

    assert sequence(7, 0) == sequence(7, 0)
    assert sequence(7, 0) != sequence(8, 0)
    assert sequence(7, 1)[:-1] == sequence(7, 0)[1:]


def test_the_best_token_is_the_same_in_the_dtype_that_logits_come_in() -> None:
    rounded = torch.randn(40, 1000, generator=torch.Generator().manual_seed(3)).bfloat16()  # with ties
    for rows in ([SamplingRow()] * 40, [SamplingRow(banned_ids=(5,)), *[SamplingRow()] * 39]):
        batch = SamplingBatch.from_rows(rows, "cpu")
        assert sample(rounded, batch).tolist() == sample(rounded.float(), batch).tolist()
    drawn = SamplingBatch.from_rows([SamplingRow(temperature=1.0, seed=row) for row in range(40)], "cpu")
    assert sample(rounded, drawn).tolist() == sample(rounded.float(), drawn).tolist()
