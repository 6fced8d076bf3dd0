"""The experts of a layer: which ones a row gets, what they make of it, and that other rows change no bit."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from model.ops.experts import choose, experts_one_by_one
from model.ops.linear import Quantization, pack_weight

HIDDEN, INTERMEDIATE, COUNT = 160, 96, 12
QUANTIZE = pytest.mark.parametrize("quantize", ["none", "int8"])


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


class Packed(NamedTuple):
    """Experts in the order of the operator's arguments."""

    router: torch.Tensor
    gate_up: list[torch.Tensor]
    down: list[torch.Tensor]


class Weights:
    """Random experts, plain and packed. The kernels must be loaded before they are packed."""

    def __init__(self, count: int = COUNT, quantize: Quantization = "none", hidden: int = HIDDEN) -> None:
        self.router = random(count, hidden) * hidden**-0.5
        self.gate_up = [(random(2 * INTERMEDIATE, hidden, seed=i) * hidden**-0.5).bfloat16() for i in range(count)]
        self.down = [(random(hidden, INTERMEDIATE, seed=i) * INTERMEDIATE**-0.5).bfloat16() for i in range(count)]
        self.packed = Packed(
            self.router,
            [pack_weight(weight, quantize) for weight in self.gate_up],
            [pack_weight(weight, quantize) for weight in self.down],
        )

    def run(self, x: torch.Tensor, per_token: int = 3) -> torch.Tensor:
        result: torch.Tensor = torch.ops.qwen_batch.experts(x, *self.packed, INTERMEDIATE, per_token, True)
        return result

    def exact(self, x: torch.Tensor, per_token: int = 3) -> torch.Tensor:
        """The result in float64."""
        rows = x.double()
        shares = torch.softmax(rows @ self.router.double().T, dim=-1)
        kept = shares.topk(per_token, dim=-1)
        weights = torch.zeros_like(shares).scatter(1, kept.indices, kept.values)
        weights /= weights.sum(-1, keepdim=True)
        total = torch.zeros_like(rows)
        for expert in range(len(self.gate_up)):
            gate, up = (rows @ self.gate_up[expert].double().T).chunk(2, dim=-1)
            total += weights[:, expert : expert + 1] * (
                (torch.nn.functional.silu(gate) * up) @ self.down[expert].double().T
            )
        return total


def rows_of(num_rows: int, hidden: int = HIDDEN) -> torch.Tensor:
    return random(num_rows, hidden).bfloat16()


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("quantize", "error"), [("none", 0.008), ("int8", 0.03)])
@pytest.mark.parametrize("num_rows", [0, 1, 7, 300])
def test_the_result_is_the_weighted_sum_of_what_the_rows_experts_make_of_it(
    quantize: Quantization, error: float, num_rows: int
) -> None:
    weights, x = Weights(quantize=quantize), rows_of(num_rows)
    difference = weights.run(x).double() - weights.exact(x)
    assert difference.shape == (num_rows, HIDDEN)
    assert difference.norm() <= error * weights.exact(x).norm()


@pytest.mark.usefixtures("kernels")
def test_every_value_of_a_row_counts_for_its_experts() -> None:
    weights, x = Weights(hidden=176), rows_of(300, hidden=176)  # the kernel's router takes 32 values at a time
    difference = weights.run(x).double() - weights.exact(x)
    assert difference.norm() <= 0.008 * weights.exact(x).norm()


@pytest.mark.usefixtures("kernels")
@QUANTIZE
@pytest.mark.parametrize("count", [5, COUNT])
def test_a_row_has_the_same_bits_among_any_rows(quantize: Quantization, threads: int, count: int) -> None:
    weights, x = Weights(count, quantize), rows_of(300)
    whole = weights.run(x)
    for first, rows in ((0, 1), (17, 1), (3, 2), (40, 9), (100, 150)):
        assert torch.equal(weights.run(x[first : first + rows]), whole[first : first + rows])
    backwards = torch.arange(299, -1, -1)
    assert torch.equal(weights.run(x[backwards]), whole[backwards])


@pytest.mark.usefixtures("built_kernels")
@QUANTIZE
def test_every_number_of_threads_gives_the_same_bits(quantize: Quantization) -> None:
    weights, x, before = Weights(quantize=quantize), rows_of(40), torch.get_num_threads()
    results = []
    for number in (1, 2, 3, 8):
        torch.set_num_threads(number)
        results.append(weights.run(x))
        results.append(torch.cat([weights.run(row) for row in x.split(1)]))
    torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.usefixtures("built_kernels")
@QUANTIZE
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("per_token", [1, 3, COUNT])
def test_the_kernel_gives_what_the_experts_give_one_by_one(
    quantize: Quantization, threads: int, per_token: int, normalise: bool
) -> None:
    weights, x = Weights(quantize=quantize), rows_of(200)
    ours = torch.ops.qwen_batch_cpu.experts(x, *weights.packed, INTERMEDIATE, per_token, normalise)
    chosen, shares = choose(x.float() @ weights.router.T, per_token, normalise)
    plain = experts_one_by_one(x, chosen, shares, *weights.packed[1:], INTERMEDIATE)
    torch.testing.assert_close(ours, plain, atol=1e-2, rtol=2**-6)


@pytest.mark.usefixtures("built_kernels")
@QUANTIZE
def test_all_rows_may_go_to_one_expert(quantize: Quantization, threads: int) -> None:
    weights, x = Weights(quantize=quantize), rows_of(300)
    router = torch.zeros(COUNT, HIDDEN)  # all experts are equal, so the first one is chosen
    ours = torch.ops.qwen_batch_cpu.experts(x, router, *weights.packed[1:], INTERMEDIATE, 1, True)
    chosen, shares = torch.zeros(300, 1, dtype=torch.int64), torch.ones(300, 1)
    plain = experts_one_by_one(x, chosen, shares, *weights.packed[1:], INTERMEDIATE)
    torch.testing.assert_close(ours, plain, atol=1e-2, rtol=2**-6)


def test_a_row_gets_the_experts_with_the_largest_logits_in_rising_order() -> None:
    chosen, weights = choose(torch.tensor([[0.0, 3.0, 1.0, 2.0], [5.0, 0.0, 0.0, 6.0]]), 2, normalise=False)
    assert chosen.tolist() == [[1, 3], [0, 3]]
    torch.testing.assert_close(weights[0], torch.softmax(torch.tensor([0.0, 3.0, 1.0, 2.0]), 0)[[1, 3]])


@pytest.mark.parametrize("num_experts", [8, 60, 128])
def test_of_equal_experts_a_row_gets_the_lower_ones(num_experts: int) -> None:
    chosen, weights = choose(torch.zeros(5, num_experts), 4, normalise=True)
    assert chosen.tolist() == [[0, 1, 2, 3]] * 5
    assert torch.equal(weights, torch.full((5, 4), 0.25))


def test_weights_that_are_normalised_add_up_to_one_whatever_the_other_rows_are() -> None:
    logits = random(100, 128)
    chosen, weights = choose(logits, 8, normalise=True)
    torch.testing.assert_close(weights.sum(-1), torch.ones(100))
    for row in range(100):
        alone = choose(logits[row : row + 1], 8, normalise=True)
        assert torch.equal(alone[0][0], chosen[row])
        assert torch.equal(alone[1][0], weights[row])


@pytest.mark.usefixtures("built_kernels")
def test_the_kernel_breaks_ties_like_plain_pytorch_and_survives_what_is_no_number() -> None:
    weights, x = Weights(), rows_of(20)
    for router in (torch.zeros(COUNT, HIDDEN), torch.full((COUNT, HIDDEN), torch.nan)):
        ours = torch.ops.qwen_batch_cpu.experts(x, router, *weights.packed[1:], INTERMEDIATE, 4, True)
        assert ours.shape == x.shape
        if not router.isnan().any():
            chosen, shares = choose(torch.zeros(20, COUNT), 4, normalise=True)
            plain = experts_one_by_one(x, chosen, shares, *weights.packed[1:], INTERMEDIATE)
            torch.testing.assert_close(ours, plain, atol=1e-2, rtol=2**-6)


@pytest.mark.usefixtures("built_kernels")
@pytest.mark.parametrize("per_token", [0, COUNT + 1])
def test_a_number_of_experts_that_there_are_not_is_refused(per_token: int) -> None:
    weights = Weights()
    with pytest.raises(RuntimeError, match="at most all experts"):
        torch.ops.qwen_batch_cpu.experts(rows_of(1), *weights.packed, INTERMEDIATE, per_token, True)
