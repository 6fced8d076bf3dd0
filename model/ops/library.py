"""The operators' namespace, `torch.ops.qwen_batch`. `torch.compile` sees an operator as one opaque call."""

from __future__ import annotations

from collections.abc import Callable

import torch

LIBRARY = torch.library.Library("qwen_batch", "DEF")  # type: ignore[no-untyped-call]

# Reached on every device for which no faster kernel is registered.
ANY_DEVICE = "CompositeExplicitAutograd"


def register(schema: str, implementation: Callable[..., object], result_shape: Callable[..., object]) -> None:
    """Defines an operator.

    Args:
        schema: Name, arguments and result in PyTorch's schema language.
        implementation: Runs wherever no kernel is registered for the arguments' device. A kernel in C++ registers with
            `TORCH_LIBRARY_IMPL(qwen_batch, CPU, m)`; the dispatcher prefers it.
        result_shape: The same arguments to an empty result, for the compiler.
    """
    name = schema.partition("(")[0]
    LIBRARY.define(schema)  # type: ignore[no-untyped-call]
    LIBRARY.impl(name, implementation, ANY_DEVICE)  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"qwen_batch::{name}", result_shape, lib=LIBRARY)
