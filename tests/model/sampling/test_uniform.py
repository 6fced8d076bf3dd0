from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from model.sampling.uniform import uniform_bits

MASK = 2**64 - 1


def split_mix_64(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def bits(seeds: list[int], positions: list[int]) -> torch.Tensor:
    return uniform_bits(torch.tensor(seeds), torch.tensor(positions))


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**40))
def test_the_bits_are_splitmix64s_in_unbounded_arithmetic(seed: int, position: int) -> None:
    golden = 0x9E3779B97F4A7C15
    start = split_mix_64((seed + golden) & MASK)
    expected = split_mix_64((start + (position + 1) * golden) & MASK) >> 32
    assert bits([seed], [position]).tolist() == [expected]


def test_uniforms_along_a_sequence_and_across_seeds_are_uniform() -> None:
    count, cells = 65_536, 256
    along = bits([12345] * count, list(range(count)))
    across = bits(list(range(count)), [7] * count)
    for drawn in (along, across):
        assert drawn.min() >= 0
        assert drawn.max() < 2**32
        for shift in (24, 16, 8, 0):  # every byte, so that low bits are as good as high ones
            observed = torch.bincount((drawn >> shift) % cells, minlength=cells).double()
            chi_square = ((observed - count / cells) ** 2 / (count / cells)).sum()
            assert abs(chi_square - (cells - 1)) < 5 * (2 * (cells - 1)) ** 0.5


def test_neighbouring_seeds_and_positions_are_uncorrelated() -> None:
    count = 65_536
    grid = bits([s for s in range(256) for _ in range(256)], list(range(256)) * 256).double().view(256, 256) / 2**32
    centred = grid - 0.5
    for neighbour in (centred.roll(1, 0), centred.roll(1, 1)):
        correlation = (centred * neighbour).mean() * 12
        assert abs(correlation) < 5 / count**0.5


def test_a_draw_does_not_depend_on_the_other_rows() -> None:
    seeds, positions = list(range(50)), list(range(50, 100))
    together = bits(seeds, positions).tolist()
    assert together == [int(bits([s], [p])) for s, p in zip(seeds, positions, strict=True)]
