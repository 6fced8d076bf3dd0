"""What is read off a hidden state depends on this state alone."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from model.pooling.readings import embedding_of, float32_bytes, label_logits

STATES = torch.randn(5, 96, generator=torch.Generator().manual_seed(1))


def test_an_embedding_is_cut_first_and_then_has_the_length_1() -> None:
    embedding = embedding_of(STATES[0], 32)
    assert embedding.shape == (32,)
    assert abs(float(embedding.double().norm()) - 1) < 1e-6
    torch.testing.assert_close(embedding, normalize(STATES[0][:32], dim=0))


def test_without_dimensions_the_whole_state_becomes_the_embedding() -> None:
    torch.testing.assert_close(embedding_of(STATES[1]), normalize(STATES[1], dim=0))


def test_a_state_of_zeros_has_an_embedding_of_zeros() -> None:
    assert not embedding_of(torch.zeros(8)).any()


def test_logits_of_labels_are_those_of_the_product_and_no_bit_depends_on_the_other_states() -> None:
    rows = torch.randn(2, 96, generator=torch.Generator().manual_seed(2))
    together = label_logits(STATES, rows)
    torch.testing.assert_close(together, STATES @ rows.T)
    alone = torch.cat([label_logits(state[None], rows) for state in STATES])
    assert torch.equal(together, alone)


def test_values_are_written_as_little_endian_float32() -> None:
    assert float32_bytes([1.0, -2.0]) == bytes.fromhex("0000803f000000c0")
