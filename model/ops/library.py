"""The namespace of this project's operators, `torch.ops.qwen_batch`.

`torch.compile` does not look inside an operator: it keeps the call.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

LIBRARY = torch.library.Library("qwen_batch", "DEF")  # type: ignore[no-untyped-call]

# The dispatch key for devices without a faster registered kernel.
ANY_DEVICE = "CompositeExplicitAutograd"


def register(schema: str, implementation: Callable[..., object], result_shape: Callable[..., object]) -> None:
    """Define an operator.

    Args:
        schema: Name, arguments and result in PyTorch's schema language.
        implementation: Runs if no kernel is registered for the arguments' device. The file
            `model/kernels/cpu/common/dispatch.cpp` registers the C++ kernels for a CPU. It calls this implementation by
            the operator's name with the suffix `_in_python`.
        result_shape: Takes the operator's arguments and returns an empty result of the right shape, for the compiler.
    """
    name = schema.partition("(")[0]
    for each in (name, f"{name}_in_python"):
        LIBRARY.define(schema.replace(name, each, 1))  # type: ignore[no-untyped-call]
        LIBRARY.impl(each, implementation, ANY_DEVICE)  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"qwen_batch::{name}", result_shape, lib=LIBRARY)
