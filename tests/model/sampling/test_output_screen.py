"""The largest logits by a screen of 8 bits: none is missed, and each has the bits of the whole product."""

from __future__ import annotations

import pytest
import torch

from model.ops.linear import linear
from model.sampling.output_screen import OutputScreen

pytestmark = pytest.mark.usefixtures("built_kernels")

SHAPES = pytest.mark.parametrize(("in_features", "vocab"), [(64, 4096), (100, 5003), (320, 4001), (1024, 9999)])


class Head:
    """An output layer with its screen."""

    def __init__(self, weight: torch.Tensor) -> None:
        self.vocab = len(weight)
        self.packed = torch.ops.qwen_batch_cpu.dot_pack(weight)
        self.screen = OutputScreen.of(weight, self.packed)

    def all(self, hidden: torch.Tensor) -> torch.Tensor:
        return linear(hidden, self.packed, self.vocab)

    def largest(self, hidden: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        assert self.screen is not None
        return self.screen.largest(hidden, self.packed, torch.full((len(hidden),), count), self.vocab)

    def check(self, hidden: torch.Tensor, count: int) -> int:
        """The laws, for every row. Returns how many logits were computed in all."""
        found = self.largest(hidden, count)
        assert found is not None
        logits, ids = found
        exact, present = self.all(hidden), logits > -torch.inf
        for row in range(len(hidden)):
            mine = ids[row][present[row]]
            assert (mine.diff() > 0).all()
            assert torch.equal(logits[row][present[row]], exact[row][mine])
            wanted = (exact[row] >= exact[row].topk(count).values[-1]).nonzero().squeeze(1)
            assert torch.isin(wanted, mine).all(), f"row {row}"
        return int(present.sum())


def random(rows: int, columns: int, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed + rows + columns)).bfloat16()


@SHAPES
@pytest.mark.parametrize("threads", [1, 2, 3], indirect=True)
@pytest.mark.parametrize("count", [1, 3])
def test_the_largest_are_found_and_few_others_are_computed(
    in_features: int, vocab: int, threads: int, count: int
) -> None:
    head, hidden = Head(random(vocab, in_features)), random(70, in_features)
    assert head.check(hidden, count) < 70 * vocab / 16, f"with {threads} threads"


@SHAPES
def test_a_row_has_the_same_bits_alone(in_features: int, vocab: int) -> None:
    head, hidden = Head(random(vocab, in_features)), random(20, in_features)
    together, alone = head.largest(hidden, 1), head.largest(hidden[7:8], 1)
    assert together is not None
    assert alone is not None
    present = together[0][7] > -torch.inf
    assert torch.equal(together[0][7][present], alone[0][0])
    assert torch.equal(together[1][7][present], alone[1][0])


def test_equal_logits_are_all_found() -> None:
    weight = random(4096, 64)
    hidden = random(5, 64)
    for row in range(5):  # the best of each row stands four more times
        weight[1000 + 4 * row : 1004 + 4 * row] = weight[(hidden[row] @ weight.T).argmax()]
    head = Head(weight)
    head.check(hidden, 1)
    head.check(hidden, 3)


def test_what_eight_bits_lose_altogether_is_not_missed() -> None:
    """One value coarsens its group until all others are rounded to zero, and those make the largest logit."""
    weight = torch.zeros(4096, 512).bfloat16()
    weight[:, 1] = torch.linspace(0, 60, 4096).bfloat16()
    weight[77] = 0.49
    weight[77, [0, 256]] = 127
    hidden = torch.ones(2, 512).bfloat16()
    hidden[:, [0, 256]] = 0
    head = Head(weight)
    assert head.all(hidden).argmax(-1).tolist() == [77, 77]
    assert head.check(hidden, 1) < 4096


def test_what_eight_bits_lose_of_the_hidden_state_is_not_missed() -> None:
    """One value coarsens its group until the others are rounded away, and the weight is zero where that value is."""
    weight = torch.zeros(4096, 512).bfloat16()
    weight[:, 0] = torch.linspace(1, 60, 4096).bfloat16()
    weight[77] = 0
    weight[77, 1:256] = 127  # a byte each: of the weight nothing is lost
    hidden = torch.zeros(2, 512).bfloat16()
    hidden[:, 0] = 127 * 64
    hidden[:, 1:256] = 31  # less than half a step of 64: zero in 8 bits
    head = Head(weight)
    assert head.all(hidden).argmax(-1).tolist() == [77, 77]
    head.check(hidden, 1)


@pytest.mark.parametrize("outlier", [-8.0, 12.0, 20.0])
def test_an_outlier_in_the_hidden_state_coarsens_its_group_and_nothing_is_missed(outlier: float) -> None:
    weight, hidden = random(40_000, 1024), random(4, 1024)
    hidden[:, 5] = outlier
    Head(weight).check(hidden, 1)
    weight[:, 5] = 0  # it decides nothing, but the others are rounded by it
    Head(weight).check(hidden, 1)


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1e15])
def test_very_small_and_very_large_numbers_are_bounded_or_left_to_the_whole_product(scale: float) -> None:
    head, hidden = Head((random(4096, 64).float() * scale).bfloat16()), random(3, 64)
    if scale < 1e-30:  # bounds can tell nothing apart
        assert head.largest(hidden, 1) is None
    else:
        head.check(hidden, 1)


@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf, 1e30])
@pytest.mark.parametrize("count", [1, 20])
def test_rows_that_bounds_say_nothing_about_are_left_to_the_whole_product(value: float, count: int) -> None:
    hidden = random(3, 64)
    hidden[1] = value
    assert Head(random(4096, 64)).largest(hidden, count) is None


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e30])
def test_a_weight_that_is_no_number_or_too_large_gets_no_screen(value: float) -> None:
    weight = random(4096, 64)
    weight[4000, 63] = value
    assert Head(weight).screen is None


def test_a_screen_of_another_weight_is_refused() -> None:
    head, other = Head(random(4096, 64)), Head(random(4000, 64))
    assert other.screen is not None
    one = torch.ones(1, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="the screen is not packed for this"):
        other.screen.largest(random(1, 64), head.packed, one, 4096)
    with pytest.raises(RuntimeError, match="the weight is not packed for this"):
        other.screen.largest(random(1, 64), other.screen.weight, one, 4000)
    with pytest.raises(RuntimeError, match="at least one logit"):
        other.screen.largest(random(1, 64), other.packed, one - 1, 4000)
