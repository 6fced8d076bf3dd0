"""Packed rows teach the same as samples one by one, and only the answers."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch
from tokenizers import Tokenizer

from tools.demo_model.data.samples import Segment, draw_sample
from tools.demo_model.learning.network import Shape, TrainingQwen3
from tools.demo_model.learning.optimiser import rate_at
from tools.demo_model.learning.packing import BatchShape, PackedBatch, encode_samples, packed_batches
from tools.demo_model.tasks.registry import TASKS


@pytest.fixture(scope="module")
def batch(demo_tokenizer: Tokenizer) -> PackedBatch:
    return next(packed_batches(demo_tokenizer, partial(draw_sample, TASKS), BatchShape(6, 160, 240), seed=3))


def test_a_sample_alone_gives_the_logits_it_gives_between_others(batch: PackedBatch) -> None:
    torch.manual_seed(0)
    network = TrainingQwen3(Shape(vocab_size=1280, num_hidden_layers=2))
    everywhere = torch.arange(batch.token_ids.numel())
    packed = network(batch.token_ids, batch.positions, batch.samples, everywhere).view(*batch.token_ids.shape, -1)
    for sample in range(1, int(batch.samples[0].max()) + 1):
        inside = batch.samples[0] == sample
        ids = batch.token_ids[0, inside][None]
        positions = torch.arange(ids.shape[1])[None]
        alone = network(ids, positions, torch.zeros_like(ids), positions[0])
        torch.testing.assert_close(packed[0, inside], alone)


def test_rows_are_well_filled_and_positions_restart_in_each_sample(batch: PackedBatch) -> None:
    assert (batch.samples > 0).float().mean() > 0.85
    starts = (batch.samples.diff(dim=1) != 0) & (batch.samples[:, 1:] > 0)
    assert starts.sum() >= 6
    assert (batch.positions[:, 1:][starts] == 0).all()


def test_what_is_learnt_is_the_answers_and_their_end_tokens(batch: PackedBatch, demo_tokenizer: Tokenizer) -> None:
    learnt = batch.weights > 0
    learnt_text = demo_tokenizer.decode(batch.targets[learnt].tolist(), skip_special_tokens=False)
    ends = {demo_tokenizer.token_to_id(token) for token in ("<|im_end|>", "<|endoftext|>")}
    is_end = torch.tensor([target in ends for target in batch.targets[learnt].tolist()])
    assert is_end.sum() >= batch.samples.amax(1).sum()  # chats of several turns have several answers
    assert (batch.weights[learnt][is_end] >= 0.4).all()
    assert "<|im_start|>" not in learnt_text
    assert "What is" not in learnt_text
    followers = batch.token_ids.flatten()[batch.places[learnt] + 1]
    assert torch.equal(followers, batch.targets[learnt])


def test_a_token_of_a_long_answer_weighs_less_and_the_whole_answer_more(demo_tokenizer: Tokenizer) -> None:
    short, long = encode_samples(
        demo_tokenizer, [[Segment("2+2=", False), Segment("4", True)], [Segment("abc", False), Segment("a" * 15, True)]]
    )
    assert short.weights == [0.0, 0.0, 0.0, 0.0, 1.0]
    assert long.weights[3:-1] == [pytest.approx(15**-0.5)] * 14
    assert long.weights[-1] == 0.4


def test_the_seed_decides_the_batches(demo_tokenizer: Tokenizer) -> None:
    def ids(seed: int) -> torch.Tensor:
        batches = packed_batches(demo_tokenizer, partial(draw_sample, TASKS), BatchShape(4, 128, 128), seed=seed)
        return torch.stack([batch.token_ids for batch in itertools.islice(batches, 3)])

    assert torch.equal(ids(1), ids(1))
    assert not torch.equal(ids(1), ids(2))


def test_the_rate_rises_stays_and_falls_to_nothing() -> None:
    rates = [rate_at(step, 1000) for step in range(1000)]
    assert rates[0] == 0.01
    assert rates[99:400] == [1.0] * 301
    assert all(before > after for before, after in itertools.pairwise(rates[400:]))
    assert 0 < rates[-1] < 0.002
