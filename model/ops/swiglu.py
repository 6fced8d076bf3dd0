"""The gate of an MLP: silu(gate) * up. Each row's bits are independent of the other rows."""

from __future__ import annotations

import torch
from torch.nn.functional import silu

SERIAL_ELEMENTS = 32_767  # PyTorch gives element-wise work below 32,768 elements to one thread


def swiglu(gate_up: torch.Tensor) -> torch.Tensor:
    """Return silu(gate) * up: [num_tokens, 2 * n] to [num_tokens, n].

    Eager PyTorch on a CPU divides the elements evenly among threads. If a thread's share ends inside a row, its last
    elements are computed one by one, with a different exponential function. The place of these elements depends on the
    number of rows. Eager rows are therefore run in blocks that are small enough for one thread. Compiled code needs no
    blocks, because it divides the work between rows.
    """
    if torch.compiler.is_compiling() or gate_up.device.type != "cpu":
        return _swiglu(gate_up)
    rows = max(1, SERIAL_ELEMENTS // gate_up.shape[1])
    return torch.cat([_swiglu(block) for block in torch.split(gate_up, rows)])


def _swiglu(gate_up: torch.Tensor) -> torch.Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return silu(gate) * up
