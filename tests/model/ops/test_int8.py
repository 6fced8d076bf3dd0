"""8-bit products: how far they are from exact ones, and that AMX tiles give the bits of vectors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from model.ops.int8 import GROUP, quantise
from model.ops.linear import linear, pack_weight
from tests.model.ops.test_quantised_products import SHAPES, random


@pytest.fixture
def kernel(built_kernels: None) -> Iterator[None]:
    """The C++ kernels are there; AMX tiles may be switched off by the test."""
    yield
    torch.ops.qwen_batch_cpu.int8_enable_tiles(True)


@pytest.mark.usefixtures("kernel")
@SHAPES
def test_amx_tiles_and_vnni_vectors_give_the_same_bits(in_features: int, out_features: int) -> None:
    if not torch.ops.qwen_batch_cpu.amx_available():
        pytest.skip("a processor without AMX has no tiles to compare the vectors with")
    weight, x = pack_weight(random(out_features, in_features), "int8"), random(130, in_features)
    on_tiles = linear(x, weight, out_features)
    torch.ops.qwen_batch_cpu.int8_enable_tiles(False)
    assert torch.equal(linear(x, weight, out_features), on_tiles)


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
