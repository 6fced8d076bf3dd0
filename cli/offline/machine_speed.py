"""Measures how fast this machine reads memory and multiplies matrices. Takes a few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from cli.offline.roofline import MachineSpeed
from model.memory.zeroed_memory import zeroed_tensor
from model.ops import onednn

READ_BYTES = 2**30  # much larger than every cache
REPEATS = 10

# Rows, depth, columns: large enough for full speed, and typical of a model.
PRODUCTS = ((512, 1024, 3072), (1024, 1024, 6144), (1024, 4096, 4096), (2048, 3072, 4096))


def measure_machine(threads: int) -> MachineSpeed:
    """Return the best of several measurements, because a limit is the machine's maximum, not its usual speed.

    Args:
        threads: Cores to use. PyTorch's number of threads stays at this value.
    """
    torch.set_num_threads(threads)
    with torch.inference_mode():
        return MachineSpeed(
            read_bytes_per_second=measure_reads(),
            flop_per_second=max(flop / _min_seconds(multiply) for flop, multiply in _products()),
        )


def measure_reads() -> float:
    """Return the bytes per second that PyTorch's threads together read in sequence."""
    return max(READ_BYTES / _min_seconds(read) for read in read_ways(READ_BYTES))


def read_ways(size: int) -> Iterator[Callable[[], object]]:
    """Yield several ways to read `size` bytes of memory once. The fastest way depends on the machine."""
    numbers = zeroed_tensor((size // 4,), torch.float32).fill_(1)  # in huge pages, as weights and cache are
    yield lambda: torch.dot(numbers, numbers)  # both operands are the same memory
    yield numbers.sum
    yield lambda: numbers.view(torch.int64).amax()


def fastest_read(size: int) -> Callable[[], float]:
    """Return the fastest way to read `size` bytes of memory. Each call returns the bytes per second of a read."""
    read = min(read_ways(size), key=_min_seconds)
    return lambda: size / _seconds(read)


def _products() -> Iterator[tuple[float, Callable[[], object]]]:
    """Yield pairs of operations and product: with plain weights, and with weights packed by oneDNN.

    Without bfloat16 instructions a processor multiplies bfloat16 weights fastest in float32, so the limit is that of
    float32 products there.
    """
    dtype = min((torch.bfloat16, torch.float32), key=_small_product_seconds)
    for rows, depth, columns in PRODUCTS:
        left, right = torch.ones(rows, depth, dtype=dtype), torch.ones(columns, depth, dtype=dtype)
        flop = 2.0 * rows * depth * columns

        def plain(left: torch.Tensor = left, right: torch.Tensor = right) -> object:
            return torch.nn.functional.linear(left, right)

        yield flop, plain
        if onednn.can_pack(dtype):
            packed = onednn.pack(right)

            def by_onednn(left: torch.Tensor = left, packed: torch.Tensor = packed) -> object:
                return onednn.product(left, packed)

            yield flop, by_onednn


def _small_product_seconds(dtype: torch.dtype) -> float:
    square = torch.ones(512, 512, dtype=dtype)
    return _min_seconds(lambda: square @ square)


def _min_seconds(work: Callable[[], object]) -> float:
    work()
    return min(_seconds(work) for _ in range(REPEATS))


def _seconds(work: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    work()
    return time.perf_counter() - started_at
