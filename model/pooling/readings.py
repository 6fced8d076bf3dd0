"""Readings of the last hidden state of a prompt, which a request may want: an embedding, or logits of a few tokens.

They are computed on the CPU, because MPS has no float64. A reading takes a few vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

_MIN_NORM = 1e-12  # a shorter vector is not stretched to length 1, as in PyTorch's `normalize`


def embedding_of(state: torch.Tensor, dimensions: int | None = None) -> torch.Tensor:
    """Keep the first `dimensions` values of a hidden state, and stretch them to length 1.

    The squares are added in float64. Other states do not take part, so the bits depend on this state alone.

    Args:
        state: [hidden_size], after the final norm.
        dimensions: Number of values to keep; None for all of them.

    Returns:
        [dimensions] float32, on the CPU.
    """
    kept = state[:dimensions].cpu().double()
    norm = kept.square().sum().sqrt().clamp_min(_MIN_NORM)
    return (kept / norm).float()


def label_logits(states: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Multiply each hidden state by some rows of the output layer. The sums are computed in float64.

    Each product is summed alone, so its bits do not depend on the other states.

    Args:
        states: [n, hidden_size], after the final norm.
        rows: [labels, hidden_size], rows of the output layer.

    Returns:
        [n, labels] float32, on the CPU.
    """
    exact = rows.cpu().double()
    sums = [[(state * row).sum() for row in exact] for state in states.cpu().double()]
    return torch.stack([torch.stack(each) for each in sums]).float()


def float32_bytes(values: torch.Tensor | Sequence[float]) -> bytes:
    """Return values as little-endian float32."""
    array = torch.as_tensor(values, dtype=torch.float32, device="cpu").numpy()
    return bytes(array.astype("<f4", copy=False).tobytes())
