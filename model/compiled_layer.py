"""One compiled decoder layer for the whole model, compiled once for prefill and once for decode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from model.layer_weights import LayerFn, LayerWeights


class CompiledLayer:
    """A decoder layer under `torch.compile`, with all sizes declared dynamic that change between steps.

    The dynamic sizes are "unbacked": the compiler may assume nothing about them. The compiler then does not specialise
    for sizes of one, or for two sizes that were equal in the first call. It also does not tune the code to the first
    call's sizes, which would change the rounding. All other sizes are constants of the code.
    """

    def __init__(self, layer_fn: LayerFn, *, backend: str | Callable[..., object] = "inductor") -> None:
        """Prepare compilation. The first call of each phase compiles.

        Args:
            layer_fn: `decoder_layer`.
            backend: Backend of `torch.compile`.
        """
        self._layer_fn = layer_fn
        self._backend = backend
        self._compiled: LayerFn | None = None  # made in the first call, which knows the device

    def __call__(  # noqa: PLR0913, PLR0917 — the signature of `decoder_layer`
        self,
        hidden: torch.Tensor,
        weights: LayerWeights,
        cache: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        slots: torch.Tensor,
        query_start: torch.Tensor,
        context_lens: torch.Tensor,
        page_tables: torch.Tensor,
        is_decode: bool,
    ) -> torch.Tensor:
        """Run the layer. Arguments and result are those of `decoder_layer`."""
        for tensor in (hidden, cos, sin, slots):
            _declare(tensor, 0, "tokens")
        _declare(query_start, 0, "query_start")
        _declare(context_lens, 0, "sequences")
        _declare(page_tables, 0, "sequences")
        _declare(page_tables, 1, "pages_per_sequence")
        _declare(cache, 0, "pages")
        if self._compiled is None:
            options: dict[str, Any] = inductor_options(hidden.device.type) if self._backend == "inductor" else {}
            self._compiled = torch.compile(self._layer_fn, fullgraph=True, backend=self._backend, options=options)
        return self._compiled(
            hidden, weights, cache, cos, sin, slots, query_start, context_lens, page_tables, is_decode
        )


def inductor_options(device: str) -> dict[str, bool | int]:
    """Return Inductor's options for a type of device, such as "cpu".

    The options keep the numbers and the memory of compiled code right. They also belong to the key of Inductor's cache.
    """
    # Round where eager code rounds. By default a fused kernel carries float32 across operations.
    options: dict[str, bool | int] = {"emulate_precision_casts": True}
    if device == "cpu":
        from torch._inductor.cpu_vec_isa import pick_vec_isa  # takes a second, and the other backends need none of it

        # Bits per vector register. Inductor would choose the same width, but its cache would not know it: code for
        # AVX2 would be compiled again for AVX-512, and would then write past the end of its rows.
        options["cpp.simdlen"] = pick_vec_isa().bit_width()
    return options


def _declare(tensor: torch.Tensor, dim: int, size_name: str) -> None:
    if dim not in getattr(tensor, "_dynamo_unbacked_indices", ()):  # most tensors are shared by a step's layers
        torch._dynamo.decorators.mark_unbacked(tensor, dim, shape_id=size_name)
