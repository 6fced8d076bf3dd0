"""oneDNN's packed matrix products. Only this module calls private operators of PyTorch.

Some builds of PyTorch lack oneDNN (those for macOS), and oneDNN does not support every type on every processor.
Therefore each type is tried once before it is used.
"""

from __future__ import annotations

import functools

import torch

_TRIED_SIZE = 64  # rows and columns of the weight that is tried


@functools.cache
def can_pack(dtype: torch.dtype) -> bool:
    """Return True if oneDNN is fast with weights of this type on this processor.

    Without bfloat16 instructions, oneDNN either raises or emulates bfloat16. Emulated products took about five times
    as long as float32 products (64 rows, a busy Ice Lake, PyTorch 2.13). In that case weights are not packed.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype == torch.bfloat16 and not has_bfloat16_instructions():
        return False
    try:
        packed = pack(torch.zeros(_TRIED_SIZE, _TRIED_SIZE, dtype=dtype))
        product(torch.zeros(1, _TRIED_SIZE, dtype=dtype), packed)
    except (RuntimeError, AttributeError):  # oneDNN may be set to use fewer instructions, or lack the operator
        return False
    return True


def has_bfloat16_instructions() -> bool:
    """Return whether the processor multiplies bfloat16 values itself."""
    facts = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(facts.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def pack(weight: torch.Tensor) -> torch.Tensor:
    """Return `weight` [out_features, in_features] in oneDNN's layout. `can_pack` must be true for its type."""
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    return packed


def product(x: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
    """Multiply x [num_rows, in_features] by the transpose of a packed weight. Returns [num_rows, out_features]."""
    out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
    return out
