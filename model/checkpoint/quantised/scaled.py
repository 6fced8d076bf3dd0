"""Weights of 8 bits with scales beside them: FP8 checkpoints, and three formats of compressed-tensors.

A value is `weight * scale`. A scale belongs to the whole weight, to a row, to a group of a row, or to a block of 128
rows and 128 columns. Sources: transformers' `finegrained_fp8.py`; compressed-tensors' `naive_quantized.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from model.checkpoint.quantised.product import FLOATS, Part, Shape, StoredProduct, spans
from model.checkpoint.quantised.settings import FP8_BLOCK

_VALUES = ("F8_E4M3", "I8")


class ScaledProduct(StoredProduct):
    """`weight` of 8 bits, its scales, and for some weights of whole numbers zero points."""

    MARK = "weight_scale"

    def parts(self) -> dict[str, Part]:
        """See `StoredProduct.parts`."""
        scales = Part(self._scale_shape(), FLOATS)
        parts = {"weight": Part((self.rows, self.columns), _VALUES), self.MARK: scales}
        if "weight_zero_point" in self.found:
            parts["weight_zero_point"] = Part(scales.shape, ("I8",))
        return parts

    def decode(self, tensors: Mapping[str, torch.Tensor], target: torch.Tensor) -> None:
        """See `StoredProduct.decode`."""
        scales = self._as_table(tensors[self.MARK])
        zeros = self._as_table(tensors["weight_zero_point"]) if "weight_zero_point" in tensors else None
        for rows in spans(self.rows, FP8_BLOCK):
            values = tensors["weight"][rows].float()
            if zeros is not None:
                values -= self._spread(zeros, rows)
            target[rows] = values * self._spread(scales, rows)

    def _scale_shape(self) -> Shape:
        """Return the shape in the file if it is one of the known ones, else that of one scale for each row."""
        rows, columns, found = self.rows, self.columns, self.found.get(self.MARK)
        known: list[Shape] = [(rows, 1), (rows,), (1,), (), (1, 1), (-(-rows // FP8_BLOCK), -(-columns // FP8_BLOCK))]
        known.append((rows, self.groups(found, axis=1)))
        return found if found in known else self._usual_shape()

    def _usual_shape(self) -> Shape:
        return self.rows, 1

    def _as_table(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the scales, or the zero points, as float32 [rows or blocks of rows, groups of columns]."""
        return tensor.float().reshape(len(tensor) if tensor.dim() else 1, -1)

    def _spread(self, table: torch.Tensor, rows: slice) -> torch.Tensor:
        """Return the value for each element of some rows, at most one block of them."""
        height, width = table.shape
        in_blocks = height != self.rows
        block = rows.start // FP8_BLOCK if height > 1 else 0
        part = table[block : block + 1] if in_blocks else table[rows]
        if width == 1:
            return part
        size = FP8_BLOCK if in_blocks else self.columns // width
        return part.repeat_interleave(size, dim=1)[:, : self.columns]


class Fp8Product(ScaledProduct):
    """The official FP8 checkpoints of Qwen3: the scales of blocks have a name of their own."""

    MARK = "weight_scale_inv"  # despite its name, values are multiplied by it

    def _usual_shape(self) -> Shape:
        return -(-self.rows // FP8_BLOCK), -(-self.columns // FP8_BLOCK)
