"""Weights of GPTQ and AWQ: codes in words of 32 bits, with groups along the input features.

Both store the transpose of a weight. A value is `(code - zero) * scale`. Sources: GPTQModel's `qlinear` modules and
AutoAWQ's `packing_utils.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from model.checkpoint.quantised.product import FLOATS, ROWS_AT_ONCE, WORDS, Part, StoredProduct, spans, unpacked
from model.ops.int4 import Groups

_AWQ_BITS = 4
_AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)  # place in the word of each of its eight columns


@dataclass(frozen=True)
class GptqProduct(StoredProduct):
    """`qweight` packs 4 or 8 codes of a column into a word. `g_idx`, if present, tells the group of each input feature.

    Attributes:
        zero_offset: What is to be added to a stored zero point. Version 1 of the format stores it less 1.
    """

    zero_offset: int = 1

    MARK = "qweight"

    def parts(self) -> dict[str, Part]:
        """See `StoredProduct.parts`."""
        groups, bits = self.groups(self.found.get("scales"), axis=0), self._bits
        parts = {
            "qweight": Part((self.columns * bits // 32, self.rows), WORDS),
            "qzeros": Part((groups, self.rows * bits // 32), WORDS),
            "scales": Part((groups, self.rows), FLOATS),
        }
        if "g_idx" in self.found:
            parts["g_idx"] = Part((self.columns,), WORDS)
        return parts

    def decode(self, tensors: Mapping[str, torch.Tensor], target: torch.Tensor) -> None:
        """See `StoredProduct.decode`."""
        bits, scales, zeros = self._bits, tensors["scales"].float(), self._zeros(tensors)
        per_word = 32 // bits
        group_of = self.group_of(tensors, "g_idx", len(scales))
        for columns in spans(self.columns, ROWS_AT_ONCE):
            packed = tensors["qweight"][columns.start // per_word : -(-columns.stop // per_word)]
            codes = unpacked(packed.T, bits).float()  # [rows, columns]
            group = group_of[columns]
            target[:, columns] = (codes - zeros[group].T) * scales[group].T

    def four_bits(self, tensors: Mapping[str, torch.Tensor]) -> Groups | None:
        """See `StoredProduct.four_bits`."""
        scales = tensors["scales"].float().T
        order = self.group_of(tensors, "g_idx", scales.shape[1])
        if self._bits != 4 or not torch.equal(order, self.group_of({}, "g_idx", scales.shape[1])):
            return None
        codes = unpacked(tensors["qweight"].T, 4)
        return self.in_32s(codes, self._zeros(tensors).T, scales)

    def _zeros(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the zero point of each group: float32 [groups, rows]."""
        # The offset is added to whole words, as the writers do it, so a zero point of all ones carries into the next.
        each = self.zero_offset * sum(1 << place for place in range(0, 32, self._bits))
        words = (tensors["qzeros"].long() + each).to(torch.int32)
        return unpacked(words, self._bits).float()

    @property
    def _bits(self) -> int:
        """4 or 8, by the number of words for a column."""
        packed = self.found.get("qweight", ())
        return 8 if len(packed) == 2 and packed[0] * 4 == self.columns else 4


@dataclass(frozen=True)
class GptqV2Product(GptqProduct):
    """Version 2 stores zero points as they are."""

    zero_offset: int = 0


class AwqProduct(StoredProduct):
    """`qweight` packs the codes of eight output features into a word, in an order of their own."""

    MARK = "qweight"

    def parts(self) -> dict[str, Part]:
        """See `StoredProduct.parts`."""
        groups, words = self.groups(self.found.get("scales"), axis=0), self.rows // 8
        return {
            "qweight": Part((self.columns, words), WORDS),
            "qzeros": Part((groups, words), WORDS),
            "scales": Part((groups, self.rows), FLOATS),
        }

    def decode(self, tensors: Mapping[str, torch.Tensor], target: torch.Tensor) -> None:
        """See `StoredProduct.decode`."""
        scales = tensors["scales"].float()
        zeros = self._codes(tensors["qzeros"])
        size = self.columns // len(scales)
        for group, columns in enumerate(spans(self.columns, size)):
            codes = self._codes(tensors["qweight"][columns])
            target[:, columns] = ((codes - zeros[group]) * scales[group]).T

    def four_bits(self, tensors: Mapping[str, torch.Tensor]) -> Groups | None:
        """See `StoredProduct.four_bits`."""
        codes, zeros = self._codes(tensors["qweight"]).T, self._codes(tensors["qzeros"]).T
        return self.in_32s(codes, zeros, tensors["scales"].float().T)

    @staticmethod
    def _codes(words: torch.Tensor) -> torch.Tensor:
        codes = unpacked(words, _AWQ_BITS).view(len(words), -1, 8)
        return codes[..., list(_AWQ_ORDER)].flatten(1).float()
