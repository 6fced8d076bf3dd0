"""Packing of samples into rows of one length, so that only the last few tokens of a row are padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from tokenizers import Tokenizer
from torch import Tensor

from tools.demo_model.data.samples import Sample

_MIN_END_WEIGHT = 0.4
_SAMPLES_PER_DRAW = 512


@dataclass(frozen=True)
class EncodedSample:
    """Token ids, and the weight of predicting each of them (0 for a prompt's ids)."""

    token_ids: list[int]
    weights: list[float]


@dataclass(frozen=True)
class PackedBatch:
    """Rows of several samples each, and the places at which the next token of an answer is learnt."""

    token_ids: Tensor  # [rows, tokens] int64
    positions: Tensor  # [rows, tokens] int64, from 0 in each sample
    samples: Tensor  # [rows, tokens] int64, the sample a token belongs to; padding is a sample of its own
    places: Tensor  # [answer tokens] int64, into the flattened rows
    targets: Tensor  # [answer tokens] int64, the token that follows there
    weights: Tensor  # [answer tokens] float32, weight of the loss there; 0 for places that fill the fixed size


def encode_samples(tokenizer: Tokenizer, samples: Sequence[Sample]) -> list[EncodedSample]:
    """Encode samples. Each token of an answer of length n has the weight n^-1/2.

    A long answer therefore counts more than a short one, but not in proportion to its length.
    """
    texts = [segment.text for sample in samples for segment in sample]
    encodings = iter(tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    encoded = []
    for sample in samples:
        token_ids: list[int] = []
        weights: list[float] = []
        for segment in sample:
            ids = next(encodings).ids
            weight = len(ids) ** -0.5 if segment.is_answer else 0.0
            token_ids += ids
            weights += [weight] * len(ids)
            if segment.is_answer:
                weights[-1] = max(weight, _MIN_END_WEIGHT)
        encoded.append(EncodedSample(token_ids, weights))
    return encoded


def _fill_rows(samples: list[EncodedSample], rows: int, row_length: int) -> list[list[EncodedSample]]:
    """Take samples from the front and put each into the first row with room. Stops at a sample that fits in no row."""
    filled: list[list[EncodedSample]] = [[] for _ in range(rows)]
    room = [row_length] * rows
    while samples:
        length = len(samples[0].token_ids)
        row = next((index for index in range(rows) if room[index] >= length), None)
        if row is None:
            break
        filled[row].append(samples.pop(0))
        room[row] -= length
    return filled


def _pack(rows: list[list[EncodedSample]], row_length: int, learnt_places: int) -> PackedBatch:
    shape = (len(rows), row_length)
    token_ids, positions, samples = (torch.zeros(shape, dtype=torch.int64) for _ in range(3))
    next_weights = torch.zeros(shape)
    for row, row_samples in enumerate(rows):
        start = 0
        for number, sample in enumerate(row_samples, start=1):
            end = start + len(sample.token_ids)
            token_ids[row, start:end] = torch.tensor(sample.token_ids)
            positions[row, start:end] = torch.arange(end - start)
            samples[row, start:end] = number
            next_weights[row, start : end - 1] = torch.tensor(sample.weights[1:])
            start = end
    # A fixed number of places gives the compiled step one shape. Places beyond it are rare, and are not learnt.
    learnt = next_weights.flatten().nonzero().flatten()[:learnt_places]
    places = torch.zeros(learnt_places, dtype=torch.int64)
    places[: len(learnt)] = learnt
    weights = next_weights.flatten()[places]
    weights[len(learnt) :] = 0.0
    return PackedBatch(
        token_ids, positions, samples, places, token_ids.flatten()[(places + 1) % token_ids.numel()], weights
    )


@dataclass(frozen=True)
class BatchShape:
    """The sizes of every batch of a stream."""

    rows: int
    row_length: int  # tokens
    learnt_places: int  # most answer tokens that are learnt; further ones are rare, and are left out


def packed_batches(
    tokenizer: Tokenizer, draw: Callable[[Random], Sample], shape: BatchShape, *, seed: int
) -> Iterator[PackedBatch]:
    """Yield batches of drawn samples endlessly. The seed decides all of them. A sample longer than a row is dropped."""
    rng = Random(seed)
    waiting: list[EncodedSample] = []
    while True:
        if len(waiting) < _SAMPLES_PER_DRAW // 2:
            drawn = encode_samples(tokenizer, [draw(rng) for _ in range(_SAMPLES_PER_DRAW)])
            waiting += [sample for sample in drawn if len(sample.token_ids) <= shape.row_length]
        yield _pack(_fill_rows(waiting, shape.rows, shape.row_length), shape.row_length, shape.learnt_places)
