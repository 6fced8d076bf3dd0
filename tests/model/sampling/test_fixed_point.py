from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from model.sampling.fixed_point import fraction_bits, fraction_of, token_weights

ONE = 2**40


@given(st.integers(0, 2**59 - 1), st.integers(0, 2**32))
def test_a_fraction_of_a_total_is_exact(total: int, fraction: int) -> None:
    assert fraction_of(torch.tensor([total]), torch.tensor([fraction])).tolist() == [total * fraction >> 32]


def test_zero_and_one_are_fractions() -> None:
    assert (fraction_bits(0.0), fraction_bits(0.5), fraction_bits(1.0)) == (0, 2**31, 2**32)


def test_weights_are_probabilities_over_the_best() -> None:
    logits = torch.tensor([[3.0, 1.0, -torch.inf, -40.0]])
    best, likely, impossible, hopeless = token_weights(logits, torch.tensor([3.0]), torch.tensor([2.0]))[0].tolist()
    assert best == ONE
    assert math.isclose(likely / ONE, math.exp(-1), rel_tol=1e-6)
    assert impossible == 0
    assert hopeless > 0


def test_a_row_of_minus_infinity_weighs_nothing() -> None:
    nothing = torch.full((1, 3), -torch.inf)
    assert token_weights(nothing, nothing[:, 0], torch.tensor([1.0])).tolist() == [[0, 0, 0]]
