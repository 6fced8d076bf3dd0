"""One compiled decoder layer for the whole model, compiled once for prefill and once for decode."""

from __future__ import annotations

from collections.abc import Callable

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
        # Make Inductor round where eager code rounds. By default a fused kernel carries float32 across operations.
        rounded = {"emulate_precision_casts": True} if backend == "inductor" else {}
        self._compiled = torch.compile(layer_fn, fullgraph=True, backend=backend, options={**rounded})

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
        return self._compiled(
            hidden, weights, cache, cos, sin, slots, query_start, context_lens, page_tables, is_decode
        )


def _declare(tensor: torch.Tensor, dim: int, size_name: str) -> None:
    if dim not in getattr(tensor, "_dynamo_unbacked_indices", ()):  # most tensors are shared by a step's layers
        torch._dynamo.decorators.mark_unbacked(tensor, dim, shape_id=size_name)
