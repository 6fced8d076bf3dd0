"""The optimisers: Muon for the layers' matrices, AdamW for all other weights, with one schedule for both."""

from __future__ import annotations

import torch
from torch import nn

_MUON_RATE = 0.02
_ADAM_RATE = 3e-3
_WARM_UP_STEPS = 100
_DECAY_FROM = 0.4  # share of all steps


def rate_at(step: int, steps: int) -> float:
    """Return the share of the full learning rate.

    It rises over the first steps, stays constant, then falls linearly to zero.
    """
    decay_start = _DECAY_FROM * steps
    if step < _WARM_UP_STEPS:
        return (step + 1) / _WARM_UP_STEPS
    return min(1.0, (steps - step) / (steps - decay_start))


class DemoOptimiser:
    """Two optimisers that step together."""

    def __init__(self, network: nn.Module, steps: int, peak: float = 1.0) -> None:
        self._steps = steps
        self._peak = peak  # current share of the full rates
        matrices = [p for name, p in network.named_parameters() if p.ndim == 2 and name.startswith("layers.")]
        chosen = {id(matrix) for matrix in matrices}
        others = [p for p in network.parameters() if id(p) not in chosen]
        # "original" scales an update by sqrt(max(1, out / in)): Jordan, https://kellerjordan.github.io/posts/muon/
        muon = torch.optim.Muon(
            matrices, lr=_MUON_RATE, weight_decay=0.0, momentum=0.95, nesterov=True, adjust_lr_fn="original"
        )
        adam = torch.optim.AdamW(others, lr=_ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0)
        self._optimisers: tuple[tuple[torch.optim.Optimizer, float], ...] = ((muon, _MUON_RATE), (adam, _ADAM_RATE))

    def step(self, step: int) -> None:
        """Apply the gradients at this step's learning rate, and clear them."""
        rate = self._peak * rate_at(step, self._steps)
        for optimiser, full_rate in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = full_rate * rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
