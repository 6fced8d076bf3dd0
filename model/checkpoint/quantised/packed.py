"""Weights of 4 or 8 bits in words of 32 bits: the format `pack-quantized` of compressed-tensors.

A value is `(code - zero) * scale`, with a scale and a zero point for each group of a row. Source: compressed-tensors'
`pack_quantized.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from model.checkpoint.quantised.product import FLOATS, ROWS_AT_ONCE, WORDS, Part, StoredProduct, spans, unpacked
from model.ops.int4 import Groups


class PackedProduct(StoredProduct):
    """`weight_packed` holds the codes of a row from the low bits on. Zero points are packed along the rows."""

    MARK = "weight_packed"

    def parts(self) -> dict[str, Part]:
        """See `StoredProduct.parts`."""
        groups = self.groups(self.found.get("weight_scale"), axis=1)
        parts = {
            "weight_packed": Part((self.rows, self._words(self.columns)), WORDS),
            "weight_scale": Part((self.rows, groups), FLOATS),
        }
        if "weight_zero_point" in self.found:
            parts["weight_zero_point"] = Part((self._words(self.rows), groups), WORDS)
        if "weight_g_idx" in self.found:
            parts["weight_g_idx"] = Part((self.columns,), WORDS)
        return parts

    def decode(self, tensors: Mapping[str, torch.Tensor], target: torch.Tensor) -> None:
        """See `StoredProduct.decode`."""
        scales, zeros, bits = tensors["weight_scale"].float(), self._zeros(tensors), self._bits
        group_of = self.group_of(tensors, "weight_g_idx", scales.shape[1])
        for rows in spans(self.rows, ROWS_AT_ONCE):
            codes = unpacked(tensors["weight_packed"][rows], bits)[:, : self.columns].float()
            target[rows] = (codes - zeros[rows][:, group_of]) * scales[rows][:, group_of]

    def four_bits(self, tensors: Mapping[str, torch.Tensor]) -> Groups | None:
        """See `StoredProduct.four_bits`."""
        if self._bits != 4 or "weight_g_idx" in tensors:
            return None
        codes = unpacked(tensors["weight_packed"], 4)[:, : self.columns]
        return self.in_32s(codes, self._zeros(tensors), tensors["weight_scale"].float())

    def _zeros(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the zero point of each group: float32 [rows, groups]."""
        if "weight_zero_point" not in tensors:
            return torch.full(tensors["weight_scale"].shape, 2.0 ** (self._bits - 1))
        return unpacked(tensors["weight_zero_point"].T, self._bits).T[: self.rows].float()

    @property
    def _bits(self) -> int:
        """4 or 8, by the number of words in a row."""
        packed = self.found.get("weight_packed", ())
        return 8 if len(packed) == 2 and packed[1] == -(-self.columns // 4) else 4

    def _words(self, values: int) -> int:
        return -(-values * self._bits // 32)
