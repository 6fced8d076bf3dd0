from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model.sampling.sampling import SamplingRow
from tests.model.sampling.naive_sampling import draw, kept

DRAWS = 20_000


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(SamplingRow(temperature=1.0), marks=pytest.mark.slow),
        SamplingRow(temperature=0.7, min_p=0.05),
        SamplingRow(temperature=0.6, top_k=20, top_p=0.95),
        SamplingRow(temperature=1.5, top_p=0.8),
        SamplingRow(temperature=1.2, top_k=50),
    ],
    ids=lambda row: f"T{row.temperature} k{row.top_k} p{row.top_p} m{row.min_p}",
)
def test_tokens_come_as_often_as_their_probability_says(row: SamplingRow) -> None:
    """Chi-square over many seeds; the seeds are fixed, so the test is too."""
    logits = torch.randn(1, 90, generator=torch.Generator().manual_seed(11)) * 2
    drawn = draw(logits.expand(DRAWS, -1), [replace(row, seed=seed) for seed in range(DRAWS)])
    observed = torch.bincount(torch.tensor(drawn), minlength=90)
    expected = kept(logits[0].tolist(), row)
    assert {token for token, count in enumerate(observed.tolist()) if count} <= expected.keys()

    frequent = {token: p * DRAWS for token, p in expected.items() if p * DRAWS >= 5}
    chi_square = sum((observed[token].item() - count) ** 2 / count for token, count in frequent.items())
    degrees = len(frequent) - 1
    assert abs(chi_square - degrees) < 5 * (2 * degrees) ** 0.5
