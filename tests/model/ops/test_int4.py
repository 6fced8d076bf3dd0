"""4-bit products: how far they are from exact ones, and that no sum overflows."""

from __future__ import annotations

import pytest
import torch

from model.ops.int4 import GROUP, quantise_weight
from model.ops.linear import linear, pack_weight
from testing.models.quantised_checkpoint import values_of_groups
from tests.model.ops.test_quantised_products import SHAPES, random


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
