"""4-bit products: how far they are from exact ones, and that every kernel gives the same."""

from __future__ import annotations

import pytest
import torch

from model.ops.int4 import GROUP, int4_linear, quantise_weight, quantised_bytes
from model.ops.linear import linear, pack_weight
from testing.models.quantised_checkpoint import values_of_groups

SHAPES = pytest.mark.parametrize(
    ("in_features", "out_features"), [(64, 96), (328, 33), (512, 256), (1024, 640), (3072, 300)]
)
ROW_COUNTS = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 33, 64, 65, 100, 1030)


def random(rows: int, columns: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows + columns)).bfloat16()


@SHAPES
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_has_the_same_bits_among_any_rows(
    kernels: str, in_features: int, out_features: int, threads: int
) -> None:
    torch.set_num_threads(threads)
    weight, x = pack_weight(random(out_features, in_features), "int4"), random(1100, in_features)
    whole = linear(x, weight, out_features)
    for rows in ROW_COUNTS if kernels == "C++ kernels" else (1, 7, 65):  # plain PyTorch takes seconds for all of them
        for first in (0, 13, 60):
            assert torch.equal(linear(x[first : first + rows], weight, out_features), whole[first : first + rows])


@pytest.mark.usefixtures("built_kernels")
@SHAPES
@pytest.mark.parametrize("num_rows", [0, 1, 7, 130])
def test_the_kernel_gives_what_plain_pytorch_gives(in_features: int, out_features: int, num_rows: int) -> None:
    weight, x = random(out_features, in_features), random(num_rows, in_features)
    ours, plain = linear(x, pack_weight(weight, "int4"), out_features), int4_linear(x, quantise_weight(weight))
    # A fused multiply-add rounds once where PyTorch rounds twice: now and then one place of bfloat16's eight bits.
    torch.testing.assert_close(ours, plain, atol=1e-3, rtol=2**-7)
    assert num_rows == 0 or (ours != plain).float().mean() < 0.01


@pytest.mark.usefixtures("built_kernels")
def test_the_largest_sums_of_a_group_do_not_overflow() -> None:
    weight = torch.zeros(32, 256).bfloat16()
    weight[:, 1::2] = 15  # codes 0 and 15
    for sign in (1, -1):
        x = torch.full((7, 256), sign * 127.0).bfloat16()
        x[:, ::2] *= -1
        out = linear(x, pack_weight(weight, "int4"), 32)
        torch.testing.assert_close(out, torch.full((7, 32), sign * 127.0 * 15 * 128).bfloat16())
    weight[:] = 15
    weight[:, 0] = 0  # all other codes are 15
    out = linear(torch.full((7, 256), 127.0).bfloat16(), pack_weight(weight, "int4"), 32)
    torch.testing.assert_close(out, torch.full((7, 32), 127.0 * 15 * 255).bfloat16())


@pytest.mark.usefixtures("built_kernels")
@SHAPES
def test_the_kernel_rounds_a_weight_to_the_bits_of_plain_pytorch(in_features: int, out_features: int) -> None:
    weight = random(out_features, in_features)
    weight[0], weight[1, : in_features // 2] = 0, 1e-38  # groups of equal values
    weight[2, 0], weight[3, 0], weight[4] = 3e38, -3e38, 5
    assert torch.equal(torch.ops.qwen_batch_cpu.int4_quantise(weight), quantise_weight(weight))


@pytest.mark.usefixtures("kernels")
@SHAPES
def test_a_product_is_as_exact_as_its_rounded_weight(in_features: int, out_features: int) -> None:
    weight, x = random(out_features, in_features), random(200, in_features)
    product = linear(x, pack_weight(weight, "int4"), out_features).double()
    exact = torch.nn.functional.linear(x.double(), weight.double())
    assert (product - exact).norm() < 0.078 * exact.norm()
    rounded = torch.nn.functional.linear(x.double(), values_of_groups(quantise_weight(weight), in_features).double())
    assert (product - rounded).norm() < 0.01 * exact.norm()


def test_no_group_is_rounded_worse_than_by_even_steps() -> None:
    weight = random(50, 704).float()
    groups = weight.view(50, -1, GROUP)
    low, step = groups.amin(-1, keepdim=True), (groups.amax(-1, keepdim=True) - groups.amin(-1, keepdim=True)) / 15
    even = (((groups - low) / step).round() * step + low - groups).square().sum(-1)
    ours = (values_of_groups(quantise_weight(weight), 704) - weight).view(50, -1, GROUP).square().sum(-1)
    assert (ours <= 1.01 * even).all()  # scale and minimum have the eleven bits of float16
    assert ours.sum() < 0.9 * even.sum()


def test_weights_of_few_values_are_kept() -> None:
    weight = torch.tensor([-2.0, -1.0, 0.0, 1.0, 5.5]).repeat(4, 64)
    weight = torch.cat((weight, torch.full((4, 32), 3.25), torch.zeros(4, 32)), dim=1)
    assert torch.equal(values_of_groups(quantise_weight(weight), weight.shape[1]), weight)


@pytest.mark.usefixtures("kernels")
def test_zeros_and_huge_values_give_no_nan() -> None:
    x = torch.zeros(3, 512).bfloat16()
    x[1, 5] = torch.finfo(torch.bfloat16).max
    x[2, 300] = torch.finfo(torch.bfloat16).tiny
    out = linear(x, pack_weight(torch.eye(512).bfloat16(), "int4"), 512)
    torch.testing.assert_close(out, x, atol=1e-30, rtol=2**-7)


def test_the_memory_of_a_quantised_weight_is_known_beforehand() -> None:
    assert quantise_weight(random(96, 1000)).nbytes == quantised_bytes(96, 1000) == 96 * 32 * 20


@pytest.mark.usefixtures("built_kernels")
def test_a_weight_of_another_shape_is_refused() -> None:
    with pytest.raises(RuntimeError, match="the packed weight has another shape"):
        linear(random(3, 512), pack_weight(random(96, 1024), "int4"), 96)
    with pytest.raises(RuntimeError, match="takes bfloat16 rows"):
        linear(random(3, 1024).float(), pack_weight(random(96, 1024), "int4"), 96)
