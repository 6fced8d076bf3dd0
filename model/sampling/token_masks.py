"""Masks: the tokens that a step's rows may choose, one bit per token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

_BITS = 32


@dataclass(frozen=True)
class TokenMasks:
    """The masks of some rows of a step. All tokens of the other rows are allowed."""

    rows: torch.Tensor  # [m] int64, row indices in the logits, ascending
    bits: torch.Tensor  # [m, words] int32; bit b of word w is set if token 32 w + b is allowed

    def of_rows(self, count: int) -> torch.Tensor:
        """Return the masks of the first `count` rows, [count, words] int32. Rows without a mask allow every token."""
        if len(self.rows) == count:
            return self.bits
        bits = torch.full((count, self.bits.shape[1]), -1, dtype=torch.int32, device=self.bits.device)
        bits[self.rows] = self.bits
        return bits

    def narrow(self, most: int) -> dict[int, int]:
        """Return the number of allowed tokens of each row that has at most `most` of them. The masks are on the CPU."""
        words = self.bits.numpy()
        used = words != 0
        counts = {}
        for place in np.flatnonzero(used.sum(1) <= most):  # counting the bits of all rows would take milliseconds
            count = int(np.unpackbits(words[place, used[place]].view(np.uint8)).sum())
            if count <= most:
                counts[int(self.rows[place])] = count
        return counts

    def allowed(self, vocab_size: int) -> torch.Tensor:
        """Return [m, vocab_size] bool, True for allowed tokens. The words must hold at least `vocab_size` bits."""
        if self.bits.device.type == "cpu":
            octets = self.bits.numpy().view(np.uint8)
            return torch.from_numpy(np.unpackbits(octets, axis=1, count=vocab_size, bitorder="little").view(np.bool_))
        shifts = torch.arange(_BITS, dtype=torch.int32, device=self.bits.device)
        return ((self.bits[:, :, None] >> shifts) & 1).flatten(1)[:, :vocab_size].bool()

    def apply_(self, logits: torch.Tensor) -> None:
        """Set the logits [n, vocab] of tokens that are not allowed to -inf, in place."""
        barred = ~self.allowed(logits.shape[1])
        if len(self.rows) == len(logits):
            logits.masked_fill_(barred, -torch.inf)
        else:
            logits[self.rows] = logits[self.rows].masked_fill_(barred, -torch.inf)
