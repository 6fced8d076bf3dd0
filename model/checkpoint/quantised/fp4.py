"""Weights of 4-bit floating-point numbers: NVFP4 and MXFP4 of compressed-tensors.

A byte holds two values, the first one in its low half. Sources: compressed-tensors' `nvfp4_quantized.py` and
`mxfp4_quantized.py`; the OCP Microscaling Formats specification, version 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from model.checkpoint.quantised.product import ROWS_AT_ONCE, Part, StoredProduct, spans

_MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # of the low three bits; the fourth bit is the sign
_NVFP4_GROUP, _MXFP4_GROUP = 16, 32
_MXFP4_BIAS = 127  # a scale of MXFP4 is a power of two, stored as its exponent with this number added


class Fp4Product(StoredProduct):
    """`weight_packed` in bytes. NVFP4 also has a scale of the whole weight, by which values are divided."""

    MARK = "weight_packed"

    def parts(self) -> dict[str, Part]:
        """See `StoredProduct.parts`."""
        packed = Part((self.rows, self.columns // 2), ("U8",))
        if not self._is_nvfp4:
            return {"weight_packed": packed, "weight_scale": Part((self.rows, self.columns // _MXFP4_GROUP), ("U8",))}
        return {
            "weight_packed": packed,
            "weight_scale": Part((self.rows, self.columns // _NVFP4_GROUP), ("F8_E4M3",)),
            "weight_global_scale": Part((1,), ("F32",)),
        }

    def decode(self, tensors: Mapping[str, torch.Tensor], target: torch.Tensor) -> None:
        """See `StoredProduct.decode`."""
        scales = tensors["weight_scale"].float()
        if self._is_nvfp4:
            group, scales = _NVFP4_GROUP, scales / tensors["weight_global_scale"]
        else:
            group, scales = _MXFP4_GROUP, torch.exp2(scales - _MXFP4_BIAS)
        known = torch.tensor([*_MAGNITUDES, *(-value for value in _MAGNITUDES)])
        for rows in spans(self.rows, ROWS_AT_ONCE):
            packed = tensors["weight_packed"][rows]
            codes = torch.stack((packed & 15, packed >> 4), dim=-1).flatten(1)
            target[rows] = known[codes.int()] * scales[rows].repeat_interleave(group, dim=1)

    @property
    def _is_nvfp4(self) -> bool:
        return "weight_global_scale" in self.found
