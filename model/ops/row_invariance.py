"""Whether a matrix kernel gives a row the same bits whatever runs with it: found by trying, for nothing documents it.

With AVX-512 oneDNN's packed kernels do, from two rows on. With AMX those for bfloat16 split long dot products
differently for few rows and for many, and so do threads that share a small product.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Pack = Callable[[torch.Tensor], torch.Tensor]
Shape = tuple[int, int, torch.dtype, int]  # in_features, out_features, dtype, threads that share the work

# Around the sizes at which kernels change their blocking: tiles of 16, 32 and 64 rows.
TRIED_ROWS = (2, 3, 5, 8, 16, 17, 31, 33, 48, 63, 64, 65, 96, 130, 257, 520)
MOST_ROWS = 1024  # what is found holds up to here
# Columns are computed in tiles of 64 or fewer, so many of them behave like these and the same last, partial tile.
MOST_COLUMNS = 8192


@functools.cache
def is_row_invariant(product: Product, pack: Pack, shape: Shape) -> bool:
    """Whether `product(x, pack(weight))` gives a row the same bits among any 2 to `MOST_ROWS` rows.

    Tried with random data: of thousands of sums, one that is added up in another order shows.
    """
    in_features, out_features, dtype, _ = shape
    generator = torch.Generator().manual_seed(in_features)
    columns = min(out_features, MOST_COLUMNS + out_features % 64)
    packed = pack(torch.randn(columns, in_features, generator=generator).to(dtype))
    x = torch.randn(MOST_ROWS, in_features, generator=generator).to(dtype)
    whole = product(x, packed)
    return all(
        torch.equal(product(x[first : first + rows], packed), whole[first : first + rows])
        for rows in TRIED_ROWS
        for first in (0, 101)
    )
