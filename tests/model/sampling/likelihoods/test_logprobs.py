"""Log-probabilities of rows of logits."""

from __future__ import annotations

import pytest
import torch

from model.sampling.logprobs import LogSoftmax

pytestmark = pytest.mark.usefixtures("kernels")  # each test runs with the C++ kernels and in plain PyTorch


def logits_for(count: int, vocab: int = 20_003) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return (torch.randn(count, vocab, generator=generator) * 4).bfloat16().float()  # bfloat16 makes ties


def all_of(logits: torch.Tensor) -> torch.Tensor:
    """The log-probability of every token."""
    return LogSoftmax.of(logits).of_tokens(torch.arange(logits.shape[1]).expand(len(logits), -1))


def test_they_are_the_logarithms_of_the_softmax() -> None:
    logits = logits_for(9)
    found = all_of(logits)
    torch.testing.assert_close(found.double(), logits.double().log_softmax(-1), atol=3e-6, rtol=0)
    torch.testing.assert_close(found.double().exp().sum(-1), torch.ones(9, dtype=torch.float64), atol=1e-5, rtol=0)


def test_the_likeliest_come_first_and_have_the_same_bits_as_when_they_are_asked_for_by_id() -> None:
    logits = logits_for(5)
    softmax = LogSoftmax.of(logits, 20)
    ids, values = softmax.top_ids, softmax.of_likeliest()
    expected = logits.sort(dim=-1, descending=True, stable=True).indices[:, :20]  # on ties, the lowest id first
    assert torch.equal(ids, expected)
    assert torch.equal(values, softmax.of_tokens(ids))


def test_a_row_has_the_same_bits_alone_and_among_others_and_with_any_number_of_threads() -> None:
    logits = logits_for(11)
    together = all_of(logits)
    for row in range(11):
        assert torch.equal(all_of(logits[row : row + 1])[0], together[row])
    order = torch.arange(10, -1, -1)
    assert torch.equal(all_of(logits[order]), together[order])
    torch.set_num_threads(2)
    assert torch.equal(all_of(logits), together)


def test_the_likeliest_of_a_small_vocabulary_are_all_of_it() -> None:
    softmax = LogSoftmax.of(torch.tensor([[1.0, 3.0, 2.0]]), 20)
    assert softmax.top_ids.tolist() == [[1, 2, 0]]
    torch.testing.assert_close(softmax.of_likeliest().exp().sum(), torch.tensor(1.0))


def test_what_is_no_number_has_a_number_that_stands_for_it() -> None:
    logits = torch.tensor([[torch.nan, 1.0], [-torch.inf, 1.0], [-torch.inf, -torch.inf]])
    found = all_of(logits)
    assert (found == -9999.0).tolist() == [[True, True], [True, False], [True, True]]
    assert found[1, 1] == 0.0


def test_an_impossible_token_changes_no_other_one() -> None:
    logits = logits_for(1)
    barred = logits.clone()
    barred[0, 7] = -1000.0
    rest = torch.cat((logits[:, :7], logits[:, 8:]), dim=1)
    assert torch.equal(all_of(barred)[0, 8:], all_of(rest)[0, 7:])


def test_logits_have_the_same_log_probabilities_in_both_types_that_hold_them() -> None:
    logits = logits_for(3)
    exact, rounded = LogSoftmax.of(logits, 20), LogSoftmax.of(logits.bfloat16(), 20)
    assert torch.equal(exact.top_ids, rounded.top_ids)
    assert torch.equal(exact.of_likeliest(), rounded.of_likeliest())


@pytest.mark.parametrize("num_equal", [1, 40, 5000])
def test_the_first_of_equal_tokens_are_the_likeliest_however_many_there_are(num_equal: int) -> None:
    logits = logits_for(2)
    order = torch.randperm(20_003, generator=torch.Generator().manual_seed(num_equal))
    logits[:, order[:num_equal]] = 30.0
    expected = logits.sort(dim=-1, descending=True, stable=True).indices[:, :20]
    assert torch.equal(LogSoftmax.of(logits, 20).top_ids, expected)


def test_the_likeliest_of_a_row_with_few_possible_tokens_name_impossible_ones_after_them() -> None:
    logits = torch.full((1, 20_003), -torch.inf)
    logits[0, 19_999], logits[0, 20_002] = 1.0, 2.0
    softmax = LogSoftmax.of(logits, 4)
    assert softmax.top_ids.tolist() == [[20_002, 19_999, 0, 1]]
    assert softmax.of_likeliest()[0, 2:].tolist() == [-9999.0, -9999.0]
    torch.testing.assert_close(softmax.of_likeliest()[0, :2].exp().sum(), torch.tensor(1.0))


def test_no_likeliest_tokens_can_be_asked_for() -> None:
    assert LogSoftmax.of(logits_for(2), 0).of_likeliest().shape == (2, 0)


def test_equally_likely_tokens_share_the_probability_of_a_large_vocabulary() -> None:
    softmax = LogSoftmax.of(torch.zeros(1, 151_936))
    torch.testing.assert_close(softmax.of_likeliest()[0, 0].exp() * 151_936, torch.tensor(1.0))
