"""The screen with masks: the largest allowed logits are those of the whole product with the same mask."""

from __future__ import annotations

import pytest
import torch

from model.sampling.token_masks import TokenMasks
from tests.model.sampling.test_output_screen import SHAPES, Head, random

pytestmark = pytest.mark.usefixtures("built_kernels")


def bits_of(allowed: torch.Tensor) -> torch.Tensor:
    """Pack [n, vocab] bool into masks [n, words] int32."""
    padded = torch.nn.functional.pad(allowed, (0, -allowed.shape[1] % 32)).unflatten(1, (-1, 32)).long()
    words = (padded << torch.arange(32)).sum(-1)
    return torch.where(words < 2**31, words, words - 2**32).int()


def some(rows: int, vocab: int, share: float) -> torch.Tensor:
    return torch.rand(rows, vocab, generator=torch.Generator().manual_seed(rows)) < share


def check(head: Head, hidden: torch.Tensor, allowed: torch.Tensor, count: int) -> int:
    """The laws, for every row. Returns how many logits were computed in all."""
    assert head.screen is not None
    counts = torch.full((len(hidden),), count)
    found = head.screen.largest(hidden, head.packed, counts, head.vocab, bits_of(allowed))
    assert found is not None
    logits, ids = found
    exact = head.all(hidden).masked_fill(~allowed, -torch.inf)
    present = logits > -torch.inf
    for row in range(len(hidden)):
        mine = ids[row][present[row]]
        assert (mine.diff() > 0).all()
        assert allowed[row][mine].all()
        assert torch.equal(logits[row][present[row]], exact[row][mine])
        least = exact[row].topk(count).values[-1]
        wanted = ((exact[row] >= least) & allowed[row]).nonzero().squeeze(1)
        assert torch.isin(wanted, mine).all(), f"row {row}"
    return int(present.sum())


@SHAPES
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("share", [0.97, 0.5, 0.02])
def test_the_largest_allowed_are_found_and_few_others_are_computed(
    in_features: int, vocab: int, count: int, share: float
) -> None:
    head, hidden = Head(random(vocab, in_features)), random(20, in_features)
    allowed = some(20, vocab, share)
    assert check(head, hidden, allowed, count) <= max(20 * vocab / 16, int(allowed.sum()))


def test_rows_without_a_mask_and_rows_with_one_stand_side_by_side() -> None:
    head, hidden = Head(random(4096, 64)), random(9, 64)
    allowed = some(9, 4096, 0.1)
    allowed[::2] = True
    check(head, hidden, allowed, 3)


def few_allowed(rows: int, vocab: int) -> torch.Tensor:
    """Every second row may choose five tokens, the others nearly all."""
    allowed = some(rows, vocab, 0.97)
    allowed[::2] = False
    allowed[::2, [0, 17, 18, vocab // 2, vocab - 1]] = True
    return allowed


@SHAPES
@pytest.mark.parametrize("count", [1, 3])
def test_of_a_row_with_few_allowed_tokens_all_are_computed_and_of_the_others_few(
    in_features: int, vocab: int, count: int
) -> None:
    head, hidden = Head(random(vocab, in_features)), random(20, in_features)
    allowed = few_allowed(20, vocab)
    assert check(head, hidden, allowed, count) < 20 * vocab / 16
    assert check(head, hidden[::2].contiguous(), allowed[::2], count) == 10 * 5


@pytest.mark.parametrize("value", [0.0, 1e30])
def test_a_row_with_few_allowed_tokens_needs_no_bounds(value: float) -> None:
    head, hidden = Head(random(4096, 64)), random(4, 64)
    hidden[2] = value
    check(head, hidden, few_allowed(4, 4096), 1)
    assert head.largest(hidden, 1) is None


@pytest.mark.parametrize("count", [1, 3, 20, 64])
def test_fewer_allowed_tokens_than_wanted_are_all_found(count: int) -> None:
    head, hidden = Head(random(5003, 100)), random(7, 100)
    allowed = torch.zeros(7, 5003, dtype=torch.bool)
    spread = list(range(0, 4000, 400))  # in one strip too many for a row that needs no bounds
    together = [[5002], [0], [17, 18], [1, 500, 5000], list(range(32, 48)), [4999, 5001, 5002]]
    for row, tokens in enumerate([*together, spread]):
        allowed[row, tokens] = True
    assert check(head, hidden, allowed, count) == int(allowed.sum()) if count > 16 else True
    for row in range(7):
        check(head, hidden[[row, row]], allowed[[row, row]], count)


def test_a_row_that_allows_nothing_has_no_logit_beside_rows_that_do() -> None:
    head, hidden = Head(random(4096, 64)), random(3, 64)
    allowed = some(3, 4096, 0.5)
    allowed[1] = False
    check(head, hidden, allowed, 1)
    assert head.screen is not None
    nothing = head.screen.largest(hidden, head.packed, torch.ones(3, dtype=torch.int64), 4096, bits_of(allowed & False))
    assert nothing is None


def test_equal_allowed_logits_are_all_found() -> None:
    weight, hidden = random(4096, 64), random(5, 64)
    for row in range(5):  # the best of each row stands four more times
        weight[1000 + 4 * row : 1004 + 4 * row] = weight[(hidden[row] @ weight.T).argmax()]
    allowed = some(5, 4096, 0.7)
    check(Head(weight), hidden, allowed, 1)
    check(Head(weight), hidden, allowed, 3)


def test_bits_after_the_vocabulary_allow_nothing() -> None:
    head, hidden = Head(random(5003, 64)), random(4, 64)
    bits = torch.full((4, 200), -1, dtype=torch.int32)  # 6,400 bits
    counts = torch.ones(4, dtype=torch.int64)
    assert head.screen is not None
    found = head.screen.largest(hidden, head.packed, counts, 5003, bits)
    free = head.screen.largest(hidden, head.packed, counts, 5003)
    assert found is not None
    assert free is not None
    assert torch.equal(found[0], free[0])
    assert torch.equal(found[1], free[1])


def test_masks_of_another_shape_are_refused() -> None:
    head, hidden = Head(random(4096, 64)), random(4, 64)
    assert head.screen is not None
    counts = torch.ones(4, dtype=torch.int64)
    for wrong in (torch.zeros(3, 128, dtype=torch.int32), torch.zeros(4, 127, dtype=torch.int32), torch.zeros(4, 128)):
        with pytest.raises(RuntimeError, match="one bit per logit"):
            head.screen.largest(hidden, head.packed, counts, 4096, wrong)


@pytest.mark.parametrize("vocab", [320, 4096, 5003])
def test_masks_expand_to_the_tokens_that_they_allow(vocab: int) -> None:
    allowed = some(3, vocab, 0.5)
    masks = TokenMasks(torch.tensor([0, 2, 3]), bits_of(allowed))
    assert torch.equal(masks.allowed(vocab), allowed)
    logits = random(5, vocab)
    expected = logits.clone()
    expected[[0, 2, 3]] = expected[[0, 2, 3]].masked_fill(~allowed, -torch.inf)
    masks.apply_(logits)
    assert torch.equal(logits, expected)
    of_rows = TokenMasks(torch.arange(5), masks.of_rows(5)).allowed(vocab)
    assert torch.equal(of_rows[[0, 2, 3]], allowed)
    assert of_rows[[1, 4]].all()
