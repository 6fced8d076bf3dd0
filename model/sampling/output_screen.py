"""The output screen finds the largest logits of each row without computing all logits exactly.

The kernel is `model/kernels/cpu/output/screen.cpp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch

from model.ops.packed_weight import WeightForm, form_of

_NO_MASKS = torch.empty(0, dtype=torch.int32)
_MAX_NORM = 1e18  # maximum norm of a row, as in model/kernels/cpu/output/screen_errors.h


@dataclass(frozen=True)
class OutputScreen:
    """An 8-bit copy of an output layer, and bounds on the errors of its logits."""

    weight: torch.Tensor  # packed 8-bit weight
    errors: torch.Tensor  # [2, valid_vocab padded to 16] float32, two factors of the error bound per row

    @classmethod
    def of(cls, head: torch.Tensor, packed: torch.Tensor) -> Self | None:
        """Return a screen for an output layer, or None if it cannot have one.

        It cannot if the layer is not packed for `dot_linear.cpp`. It cannot either if weights are NaN, or so large that
        sums may overflow.

        Args:
            head: The output layer [valid_vocab, hidden_size].
            packed: `head` after `pack_weight`.
        """
        if form_of(packed) is not WeightForm.DOT:
            return None
        weight, errors = torch.ops.qwen_batch_cpu.screen_pack(head.contiguous())
        return cls(weight, errors) if (errors < _MAX_NORM).all() else None

    def largest(
        self,
        hidden: torch.Tensor,
        packed: torch.Tensor,
        counts: torch.Tensor,
        valid_vocab: int,
        masks: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return the largest logits of each row, and possibly more.

        Args:
            hidden: [n, hidden_size] bfloat16.
            packed: The packed output layer that `of` was given.
            counts: [n] int64, number of logits to find per row. Ties with the smallest of them are found, too.
            valid_vocab: Number of rows of the output layer.
            masks: [n, words] int32 as in `TokenMasks.bits`. Only the logits of allowed tokens count. None: all count.

        Returns:
            Logits [n, width] bfloat16 with the bits of `linear`, and their ids [n, width] int64, ascending along a row.
            Places without a logit have -inf and id 0. None if too many logits lie close together: then computing all of
            them is faster.
        """
        masks = _NO_MASKS if masks is None else masks
        logits, ids = torch.ops.qwen_batch_cpu.largest_logits(
            hidden, packed, self.weight, self.errors, counts, valid_vocab, masks
        )
        return (logits, ids) if logits.shape[1] else None
