"""Triton kernels on a CPU: its interpreter, and the one thing that it gets wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def interpret_bfloat16_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the interpreter multiply bfloat16: it keeps such numbers as whole ones of 16 bits, and multiplies those.

    Widened to float32 their products are exact, as tensor cores form them.
    """
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    plain = InterpreterBuilder.create_dot

    def widened(handle: Any) -> Any:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        return TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def create_dot(self: Any, left: Any, right: Any, *rest: Any) -> Any:
        return plain(self, widened(left), widened(right), *rest)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)
