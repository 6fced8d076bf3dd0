"""The largest logits of each row, exactly, without computing all of them (`model/kernels/cpu/output/screen.cpp`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch

from model.ops.linear import int8_kernel_available, is_packed_for_dot_products

_LARGEST_NORM = 1e18  # of a row; as in model/kernels/cpu/output/screen_errors.h


@dataclass(frozen=True)
class OutputScreen:
    """An output layer once more, in 8 bits, and how far its logits can be from the exact ones."""

    weight: torch.Tensor  # packed, of 8 bits
    errors: torch.Tensor  # [2, valid_vocab padded to 16] float32, each row's factors of its bound

    @classmethod
    def of(cls, head: torch.Tensor, packed: torch.Tensor) -> Self | None:
        """For an output layer [valid_vocab, hidden_size] and what `pack_weight` made of it.

        None where the processor has no kernel for it, or weights are no numbers, or so large that sums may overflow.
        """
        if not is_packed_for_dot_products(packed) or not int8_kernel_available():
            return None
        weight, errors = torch.ops.qwen_batch_cpu.screen_pack(head.contiguous())
        return cls(weight, errors) if (errors < _LARGEST_NORM).all() else None

    def largest(
        self, hidden: torch.Tensor, packed: torch.Tensor, counts: torch.Tensor, valid_vocab: int
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The largest logits of each row, and perhaps more.

        Args:
            hidden: [n, hidden_size] bfloat16.
            packed: What `of` was given.
            counts: [n] int64: so many of a row's logits, and all that equal the last of them.
            valid_vocab: Rows of the output layer.

        Returns:
            Logits [n, width] bfloat16, with the bits that `linear` gives them, filled up with -inf; and their ids
            [n, width] int64, rising along a row. None where too many lie close together: all are then quicker.
        """
        logits, ids = torch.ops.qwen_batch_cpu.largest_logits(
            hidden, packed, self.weight, self.errors, counts, valid_vocab
        )
        return (logits, ids) if logits.shape[1] else None
