"""What 8-bit and 4-bit products have in common: a row has its own bits, and every kernel gives the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from model.ops import int4, int8
from model.ops.linear import Quantization, linear, pack_weight

SHAPES = pytest.mark.parametrize(
    ("in_features", "out_features"), [(64, 96), (328, 33), (512, 256), (1024, 640), (3072, 300)]
)
ROW_COUNTS = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 33, 64, 65, 100, 127, 1030)
FEW_ROW_COUNTS = (1, 7, 65)


@dataclass(frozen=True)
class Scheme:
    """A kind of quantised weights."""

    quantize: Quantization
    quantise_weight: Callable[[torch.Tensor], torch.Tensor]
    multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # in plain PyTorch
    quantised_bytes: Callable[[int, int], int]
    bytes_of_a_thousand: int  # what a row of 1,000 values takes
    plain_row_counts: tuple[int, ...]  # for plain PyTorch, which takes seconds for all counts with 4 bits

    def __str__(self) -> str:
        return self.quantize


@pytest.fixture(
    params=[
        Scheme("int8", int8.quantise_weight, int8.int8_linear, int8.quantised_bytes, 4 * 260, ROW_COUNTS),
        Scheme("int4", int4.quantise_weight, int4.int4_linear, int4.quantised_bytes, 32 * 20, FEW_ROW_COUNTS),
    ],
    ids=str,
)
def scheme(request: pytest.FixtureRequest) -> Scheme:
    found: Scheme = request.param
    return found


def random(rows: int, columns: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows + columns)).bfloat16()


@SHAPES
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_has_the_same_bits_among_any_rows(
    kernels: str, scheme: Scheme, in_features: int, out_features: int, threads: int
) -> None:
    counts = ROW_COUNTS if kernels == "C++ kernels" else scheme.plain_row_counts
    _check_rows(scheme, (in_features, out_features), threads, counts)


@pytest.mark.usefixtures("kernels")
def test_an_activation_halfway_between_two_integers_is_rounded_to_the_even_one(scheme: Scheme) -> None:
    x = torch.zeros(1, 256)
    x[0, 0] = 127  # the largest value of its group, so one step is 1
    x[0, 1:64] = torch.arange(63) + 0.5
    picks = pack_weight(torch.eye(64, 256).bfloat16(), scheme.quantize)
    assert torch.equal(linear(x.bfloat16(), picks, 64)[0].float().round(), x[0, :64].round())


@pytest.mark.slow
@SHAPES
@pytest.mark.parametrize("kernels", ["plain PyTorch"], indirect=True)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("kernels")
def test_a_row_has_the_same_bits_among_any_number_of_rows_in_plain_pytorch(
    scheme: Scheme, in_features: int, out_features: int, threads: int
) -> None:
    _check_rows(scheme, (in_features, out_features), threads, ROW_COUNTS)


def _check_rows(scheme: Scheme, shape: tuple[int, int], threads: int, counts: tuple[int, ...]) -> None:
    torch.set_num_threads(threads)
    in_features, out_features = shape
    weight, x = pack_weight(random(out_features, in_features), scheme.quantize), random(1100, in_features)
    whole = linear(x, weight, out_features)
    for rows in counts:
        for first in (0, 13, 60):
            assert torch.equal(linear(x[first : first + rows], weight, out_features), whole[first : first + rows])


@pytest.mark.usefixtures("built_kernels")
@SHAPES
@pytest.mark.parametrize("num_rows", [0, 1, 7, 130])
def test_the_kernel_gives_what_plain_pytorch_gives(
    scheme: Scheme, in_features: int, out_features: int, num_rows: int
) -> None:
    weight, x = random(out_features, in_features), random(num_rows, in_features)
    ours = linear(x, pack_weight(weight, scheme.quantize), out_features)
    plain = scheme.multiply(x, scheme.quantise_weight(weight))
    # A fused multiply-add rounds once where PyTorch rounds twice: now and then one place of bfloat16's eight bits.
    torch.testing.assert_close(ours, plain, atol=1e-3, rtol=2**-7)
    assert num_rows == 0 or (ours != plain).float().mean() < 0.01


@pytest.mark.usefixtures("built_kernels")
@SHAPES
def test_the_kernel_rounds_a_weight_to_the_bits_of_plain_pytorch(
    scheme: Scheme, in_features: int, out_features: int
) -> None:
    weight = random(out_features, in_features)
    weight[0], weight[1, : in_features // 2] = 0, 1e-38  # groups without a value that counts, or of equal values
    weight[2, 0], weight[3, 0], weight[4] = 3e38, -3e38, 5
    rounded = getattr(torch.ops.qwen_batch_cpu, f"{scheme}_quantise")(weight)
    assert torch.equal(rounded, scheme.quantise_weight(weight))


@pytest.mark.usefixtures("kernels")
def test_zeros_and_huge_values_give_no_nan(scheme: Scheme) -> None:
    x = torch.zeros(3, 512).bfloat16()
    x[1, 5] = torch.finfo(torch.bfloat16).max
    x[2, 300] = torch.finfo(torch.bfloat16).tiny
    out = linear(x, pack_weight(torch.eye(512).bfloat16(), scheme.quantize), 512)
    torch.testing.assert_close(out, x, atol=1e-30, rtol=2**-7)


def test_the_memory_of_a_quantised_weight_is_known_beforehand(scheme: Scheme) -> None:
    quantised = scheme.quantise_weight(random(96, 1000))
    assert quantised.nbytes == scheme.quantised_bytes(96, 1000) == 96 * scheme.bytes_of_a_thousand


@pytest.mark.usefixtures("built_kernels")
def test_a_weight_of_another_shape_is_refused(scheme: Scheme) -> None:
    packed = pack_weight(random(96, 1024), scheme.quantize)
    with pytest.raises(RuntimeError, match="the packed weight has another shape"):
        linear(random(3, 512), packed, 96)
    with pytest.raises(RuntimeError, match="takes bfloat16 rows"):
        linear(random(3, 1024).float(), packed, 96)
