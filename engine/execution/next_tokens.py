"""From hidden states to the next tokens: all logits, or the largest ones where those decide."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from model.qwen3 import Qwen3ForCausalLM
from model.sampling.sampling import SamplingBatch, SamplingRow, sample

_MOST_REACH = 64  # of the largest logits: further down too many lie close together
_PAUSE_STEPS = 32  # with all logits, after a step in which too many did


class NextTokens:
    """Chooses tokens. What it computes of the logits changes no choice: those that decide have the same bits."""

    def __init__(self, model: Qwen3ForCausalLM) -> None:
        """`model` makes the hidden states."""
        self._model = model
        self._pause = 0  # steps

    def choose(self, hidden: torch.Tensor, rows: Sequence[SamplingRow]) -> list[int]:
        """A token for each row.

        Args:
            hidden: [n, hidden_size] or more, of the rows and then of others.
            rows: How each is sampled.
        """
        batch = SamplingBatch.from_rows(rows, hidden.device)
        largest = self._largest(hidden, rows)
        if largest is None:
            chosen = sample(self._model.rounded_logits(hidden)[: len(rows)], batch)
        else:
            logits, ids = largest
            index = sample(logits[: len(rows)], batch)
            chosen = ids[: len(rows)].gather(1, index[:, None]).squeeze(1)
        found: list[int] = chosen.tolist()
        return found

    def _largest(self, hidden: torch.Tensor, rows: Sequence[SamplingRow]) -> tuple[torch.Tensor, torch.Tensor] | None:
        """None: all logits are needed, or quicker."""
        if self._model.weights.screen is None:
            return None
        reaches = [row.reach for row in rows]
        if any(reach is None or reach > _MOST_REACH for reach in reaches):
            return None
        if self._pause > 0:
            self._pause -= 1
            return None
        counts = torch.ones(len(hidden), dtype=torch.int64)
        counts[: len(rows)] = torch.tensor(reaches)
        largest = self._model.largest_logits(hidden, counts)
        if largest is None:
            self._pause = _PAUSE_STEPS
        return largest
