"""8-bit products: how far they are from exact ones, and that every kernel gives the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from model.ops.int8 import GROUP, int8_linear, quantise, quantise_weight, quantised_bytes
from model.ops.linear import linear, pack_weight

SHAPES = pytest.mark.parametrize(
    ("in_features", "out_features"), [(64, 96), (320, 33), (512, 256), (1024, 640), (3072, 300)]
)
ROW_COUNTS = (1, 2, 3, 4, 5, 9, 12, 13, 16, 17, 33, 64, 65, 100, 127, 1030)


@pytest.fixture
def kernel(built_kernels: None) -> Iterator[None]:
    """The C++ kernels are there; AMX tiles may be switched off by the test."""
    yield
    torch.ops.qwen_batch_cpu.int8_enable_tiles(True)


def random(rows: int, columns: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows + columns)).bfloat16()


@pytest.mark.usefixtures("kernels")
@SHAPES
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_has_the_same_bits_among_any_rows(in_features: int, out_features: int, threads: int) -> None:
    torch.set_num_threads(threads)
    weight, x = pack_weight(random(out_features, in_features), "int8"), random(1100, in_features)
    whole = linear(x, weight, out_features)
    for rows in ROW_COUNTS:
        for first in (0, 13, 60):
            assert torch.equal(linear(x[first : first + rows], weight, out_features), whole[first : first + rows])


@pytest.mark.usefixtures("kernel")
@SHAPES
def test_amx_tiles_and_vnni_vectors_give_the_same_bits(in_features: int, out_features: int) -> None:
    if not torch.ops.qwen_batch_cpu.amx_available():
        pytest.skip("a processor without AMX has no tiles to compare the vectors with")
    weight, x = pack_weight(random(out_features, in_features), "int8"), random(130, in_features)
    on_tiles = linear(x, weight, out_features)
    torch.ops.qwen_batch_cpu.int8_enable_tiles(False)
    assert torch.equal(linear(x, weight, out_features), on_tiles)


@pytest.mark.usefixtures("kernel")
@SHAPES
@pytest.mark.parametrize("num_rows", [0, 1, 7, 130])
def test_the_kernel_gives_what_plain_pytorch_gives(in_features: int, out_features: int, num_rows: int) -> None:
    weight, x = random(out_features, in_features), random(num_rows, in_features)
    ours, plain = linear(x, pack_weight(weight, "int8"), out_features), int8_linear(x, quantise_weight(weight))
    # A fused multiply-add rounds once where PyTorch rounds twice: now and then one place of bfloat16's eight bits.
    torch.testing.assert_close(ours, plain, atol=1e-3, rtol=2**-7)
    assert num_rows == 0 or (ours != plain).float().mean() < 0.01


@pytest.mark.usefixtures("kernel")
@SHAPES
def test_the_kernel_rounds_a_weight_to_the_bits_of_plain_pytorch(in_features: int, out_features: int) -> None:
    weight = random(out_features, in_features)
    weight[0], weight[1, : in_features // 2] = 0, 1e-38  # groups without a value that counts
    weight[2, 0] = 3e38
    assert torch.equal(torch.ops.qwen_batch_cpu.int8_quantise(weight), quantise_weight(weight))


@pytest.mark.usefixtures("kernels")
@SHAPES
def test_a_product_is_off_by_one_percent_of_its_usual_size(in_features: int, out_features: int) -> None:
    weight, x = random(out_features, in_features), random(200, in_features)
    exact = torch.nn.functional.linear(x.double(), weight.double())
    error = linear(x, pack_weight(weight, "int8"), out_features).double() - exact
    assert error.norm() < 0.0125 * exact.norm()


def test_a_number_is_off_by_at_most_half_a_step() -> None:
    rows = random(50, 700).float()
    values, scales = quantise(rows)
    assert values.abs().max() == 127
    back = (values * scales.unsqueeze(-1)).view(50, -1)[:, :700]
    step = scales.repeat_interleave(GROUP, 1)[:, :700]
    assert ((back - rows).abs() <= step / 2 * (1 + 1e-5)).all()


def test_a_large_value_coarsens_its_own_group_only() -> None:
    rows = random(1, 4 * GROUP).float()
    outlier = rows.clone()
    outlier[0, GROUP + 3] = 1e4
    values, scales = quantise(rows)
    with_outlier, its_scales = quantise(outlier)
    for group in (0, 2, 3):
        assert torch.equal(with_outlier[:, group], values[:, group])
        assert torch.equal(its_scales[:, group], scales[:, group])


@pytest.mark.usefixtures("kernels")
def test_zeros_and_huge_values_give_no_nan() -> None:
    x = torch.zeros(3, 512).bfloat16()
    x[1, 5] = torch.finfo(torch.bfloat16).max
    x[2, 300] = torch.finfo(torch.bfloat16).tiny
    out = linear(x, pack_weight(torch.eye(512).bfloat16(), "int8"), 512)
    torch.testing.assert_close(out, x, atol=1e-30, rtol=2**-7)


def test_the_memory_of_a_quantised_weight_is_known_beforehand() -> None:
    assert quantise_weight(random(96, 1000)).nbytes == quantised_bytes(96, 1000) == 96 * 4 * (GROUP + 4)


@pytest.mark.usefixtures("kernel")
def test_a_weight_of_another_shape_is_refused() -> None:
    with pytest.raises(RuntimeError, match="the packed weight has another shape"):
        linear(random(3, 512), pack_weight(random(96, 1024), "int8"), 96)
    with pytest.raises(RuntimeError, match="takes bfloat16 rows"):
        linear(random(3, 1024).float(), pack_weight(random(96, 1024), "int8"), 96)
