"""`qwen_batch::experts`: the MLP of a layer with experts. Each row's bits are independent of the other rows.

A router gives each row of x its experts and their weights. The row's result is the weighted sum of what these experts
make of it. The router's product and the sums are in float32. The sums are in rising order of expert, and rounded once.
Source: transformers' `modeling_qwen3_moe.py`, which rounds logits, weights and sums to the model's type.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from model.ops.library import register
from model.ops.linear import linear, product_in_blocks
from model.ops.packed_weight import is_packed_for_own_kernel
from model.ops.swiglu import swiglu

LANES = 16  # values per step of the C++ kernel (`vector.h`)


def experts(
    x: torch.Tensor,
    router: torch.Tensor,
    gate_up: list[torch.Tensor],
    down: list[torch.Tensor],
    intermediate: int,
    per_token: int,
    normalise: bool,
) -> torch.Tensor:
    """Run x [T, hidden] through the experts of its rows.

    Args:
        x: Normalised hidden states.
        router: [experts, hidden] float32, as in the checkpoint.
        gate_up: Per expert [2 * intermediate, hidden], packed.
        down: Per expert [hidden, intermediate], packed.
        intermediate: Size of an expert.
        per_token: Number of experts for each row.
        normalise: True to divide a row's weights by their sum.

    Returns:
        [T, hidden], in x's dtype.
    """
    if can_run_at_once(x.shape[1], intermediate, (gate_up[0], down[0])):
        at_once: torch.Tensor = torch.ops.qwen_batch_cpu.experts(
            x, router, gate_up, down, intermediate, per_token, normalise
        )
        return at_once
    chosen, weights = choose(product_in_blocks(x.float(), router, len(gate_up)), per_token, normalise)
    return experts_one_by_one(x, chosen, weights, gate_up, down, intermediate)


def can_run_at_once(hidden: int, intermediate: int, products: Sequence[torch.Tensor]) -> bool:
    """Return True if the C++ kernel supports experts with these sizes and these packed weights."""
    return hidden % LANES == intermediate % LANES == 0 and all(map(is_packed_for_own_kernel, products))


def choose(logits: torch.Tensor, per_token: int, normalise: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose each row's experts by the router's logits [T, experts]. Of equal experts, the lower one comes first.

    Returns:
        The experts [T, per_token] int64, in rising order, and their weights [T, per_token] float32.
    """
    shares = torch.softmax(logits, dim=-1)
    order = torch.sort(shares, dim=-1, descending=True, stable=True).indices
    chosen = order[:, :per_token].sort(dim=-1).values
    weights = shares.gather(1, chosen)
    if normalise:
        total = weights[:, :1]
        for place in range(1, per_token):  # `sum` may add in an order that depends on the number of rows
            total = total + weights[:, place : place + 1]
        weights = weights / total
    return chosen, weights.contiguous()


def experts_one_by_one(
    x: torch.Tensor,
    chosen: torch.Tensor,
    weights: torch.Tensor,
    gate_up: list[torch.Tensor],
    down: list[torch.Tensor],
    intermediate: int,
) -> torch.Tensor:
    """Run x through the chosen experts, one expert after the other."""
    sums = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
    for expert in sorted(set(chosen.flatten().tolist())):
        rows, places = (chosen == expert).nonzero(as_tuple=True)
        gated = swiglu(linear(x[rows], gate_up[expert], 2 * intermediate))
        out = linear(gated, down[expert], x.shape[1])
        sums[rows] += out.float() * weights[rows, places].unsqueeze(1)
    return sums.to(x.dtype)


def _like_x(x: torch.Tensor, *_: object) -> torch.Tensor:
    return torch.empty_like(x)


register(
    "experts(Tensor x, Tensor router, Tensor[] gate_up, Tensor[] down, int intermediate, int per_token, "
    "bool normalise) -> Tensor",
    experts,
    _like_x,
)
