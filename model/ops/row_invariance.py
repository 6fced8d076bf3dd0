"""A test of matrix kernels for row invariance: a row's bits do not depend on the rows computed with it.

No library documents this property, so each kernel is tried. With AVX-512, oneDNN's packed kernels are row-invariant
from two rows on. With AMX, its bfloat16 kernels split long dot products differently for few and for many rows. Threads
that share a small product do so, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Pack = Callable[[torch.Tensor], torch.Tensor]
Shape = tuple[int, int, torch.dtype, int]  # in_features, out_features, dtype, threads that share the work

# Sizes near multiples of 16, 32 and 64 rows, at which kernels change their tiles.
TRIED_ROWS = (2, 3, 5, 8, 16, 17, 31, 33, 48, 63, 64, 65, 96, 130, 257, 520)
MAX_ROWS = 1024  # maximum number of rows for which the result is valid
# Kernels compute columns in tiles of at most 64. More columns than these behave alike if the last tile is equal.
MAX_COLUMNS = 8192


@functools.cache
def is_row_invariant(product: Product, pack: Pack, shape: Shape) -> bool:
    """Return True if `product(x, pack(weight))` gives a row the same bits among any 2 to `MAX_ROWS` rows.

    The data are random. Among thousands of sums, some differ if a kernel adds in another order.
    """
    in_features, out_features, dtype, _ = shape
    generator = torch.Generator().manual_seed(in_features)
    columns = min(out_features, MAX_COLUMNS + out_features % 64)
    packed = pack(torch.randn(columns, in_features, generator=generator).to(dtype))
    x = torch.randn(MAX_ROWS, in_features, generator=generator).to(dtype)
    expected = product(x, packed)
    return all(
        torch.equal(product(x[first : first + rows], packed), expected[first : first + rows])
        for rows in TRIED_ROWS
        for first in (0, 101)
    )
