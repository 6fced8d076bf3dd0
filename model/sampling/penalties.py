"""Penalties for repetition: tokens that a sequence already contains become less likely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from model.sampling.device_copy import on_device, send


@dataclass(frozen=True)
class PenaltySettings:
    """One row's penalties and the tokens that they count."""

    presence: float  # subtracted from the logit of every token in the output
    frequency: float  # subtracted once per occurrence of the token in the output
    repetition: float  # divides positive and multiplies negative logits of tokens in prompt or output; 1: no penalty
    prompt_ids: Collection[int]
    output_ids: Collection[int]

    def output_counts(self) -> dict[int, int]:
        """Return how often each token occurs in the output, for the tokens that a penalty applies to."""
        counts = dict.fromkeys(self.prompt_ids, 0) if self.repetition != 1 else {}
        counts.update(Counter(self.output_ids))
        return counts


@dataclass(frozen=True)
class Penalties:
    """The penalties of p rows. `entry` tensors have one element per row and token that a penalty applies to."""

    presence: torch.Tensor  # [p] float32
    frequency: torch.Tensor  # [p] float32
    repetition: torch.Tensor  # [p] float32
    entry_member: torch.Tensor  # [entries] int64, index into the p rows
    entry_row: torch.Tensor  # [entries] int64, index of that row in the logits
    entry_id: torch.Tensor  # [entries] int64, the token
    entry_count: torch.Tensor  # [entries] float32, occurrences of the token in the output

    @classmethod
    def from_settings(cls, rows: Sequence[int], settings: Sequence[PenaltySettings], device: torch.device) -> Penalties:
        """Collect the penalised rows. `settings[i]` belongs to row `rows[i]` of the logits."""
        counts = [each.output_counts() for each in settings]
        member = torch.arange(len(rows)).repeat_interleave(torch.tensor([len(each) for each in counts]))
        ids = [token for each in counts for token in each]
        times = [count for each in counts for count in each.values()]
        return cls(
            presence=on_device([each.presence for each in settings], torch.float32, device),
            frequency=on_device([each.frequency for each in settings], torch.float32, device),
            repetition=on_device([each.repetition for each in settings], torch.float32, device),
            entry_member=send(member, device),
            entry_row=send(torch.tensor(rows, dtype=torch.int64)[member], device),
            entry_id=on_device(ids, torch.int64, device),
            entry_count=on_device(times, torch.float32, device),
        )

    def apply_(self, logits: torch.Tensor) -> None:
        """Change the logits [n, vocab] float32 in place: repetition first, then frequency and presence, as in vLLM."""
        value = logits[self.entry_row, self.entry_id]
        repetition = self.repetition[self.entry_member]
        value = torch.where(value > 0, value / repetition, value * repetition)
        value -= self.frequency[self.entry_member] * self.entry_count
        value -= self.presence[self.entry_member] * (self.entry_count > 0)
        logits[self.entry_row, self.entry_id] = value
