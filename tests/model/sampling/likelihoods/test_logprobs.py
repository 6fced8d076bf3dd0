"""Log-probabilities of rows of logits."""

from __future__ import annotations

import torch

from model.sampling.logprobs import LogSoftmax


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
    softmax = LogSoftmax.of(logits)
    ids, values = softmax.largest(20)
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
    ids, values = LogSoftmax.of(torch.tensor([[1.0, 3.0, 2.0]])).largest(20)
    assert ids.tolist() == [[1, 2, 0]]
    torch.testing.assert_close(values.exp().sum(), torch.tensor(1.0))


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
