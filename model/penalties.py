"""Penalties for repeating: what a sequence has said makes its tokens less likely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class PenaltySettings:
    """One row's penalties and what they are counted over."""

    presence: float  # subtracted from the logit of every token in the output
    frequency: float  # subtracted for each time the token stands in the output
    repetition: float  # divides positive and multiplies negative logits of tokens in prompt or output; 1 is none
    prompt_ids: Sequence[int]
    output_ids: Sequence[int]


@dataclass(frozen=True)
class Penalties:
    """The penalties of p rows; `entry` tensors have one element a token of their prompts and outputs, in any order."""

    rows: torch.Tensor  # [p] int64, where the rows stand in the logits
    presence: torch.Tensor  # [p] float32
    frequency: torch.Tensor  # [p] float32
    repetition: torch.Tensor  # [p] float32
    entry_row: torch.Tensor  # [entries] int64, index into the p rows
    entry_id: torch.Tensor  # [entries] int64, the token
    entry_in_output: torch.Tensor  # [entries] int32, 1 in the output, 0 in the prompt

    @classmethod
    def from_settings(cls, rows: Sequence[int], settings: Sequence[PenaltySettings], device: torch.device) -> Penalties:
        """Collect the penalised rows: `settings[i]` belongs to row `rows[i]` of the logits."""
        lengths = [(len(each.prompt_ids), len(each.output_ids)) for each in settings]
        ids = [token for each in settings for part in (each.prompt_ids, each.output_ids) for token in part]
        parts = torch.tensor(lengths, dtype=torch.int64).flatten()
        return cls(
            rows=torch.tensor(rows, dtype=torch.int64).to(device),
            presence=torch.tensor([each.presence for each in settings], dtype=torch.float32).to(device),
            frequency=torch.tensor([each.frequency for each in settings], dtype=torch.float32).to(device),
            repetition=torch.tensor([each.repetition for each in settings], dtype=torch.float32).to(device),
            entry_row=torch.arange(len(settings)).repeat_interleave(parts.view(-1, 2).sum(-1)).to(device),
            entry_id=torch.tensor(ids, dtype=torch.int64).to(device),
            entry_in_output=torch.tensor([0, 1], dtype=torch.int32)
            .repeat(len(settings))
            .repeat_interleave(parts)
            .to(device),
        )

    def apply_(self, logits: torch.Tensor) -> None:
        """Change the logits [n, vocab] float32 in place as vLLM does: repetition first, then frequency and presence."""
        vocab = logits.shape[1]
        counts = torch.zeros(len(self.rows) * vocab, dtype=torch.int32, device=logits.device)
        cells = self.entry_row * vocab + self.entry_id
        counts.scatter_add_(0, cells, self.entry_in_output)
        output_count = counts[cells]

        row = self.rows[self.entry_row]
        value = logits[row, self.entry_id]
        repetition = self.repetition[self.entry_row]
        value = torch.where(value > 0, value / repetition, value * repetition)
        value -= self.frequency[self.entry_row] * output_count
        value -= self.presence[self.entry_row] * (output_count > 0)
        logits[row, self.entry_id] = value  # a token that occurs twice is written twice, with the same value
