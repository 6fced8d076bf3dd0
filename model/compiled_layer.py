"""One compiled decoder layer for the whole model: compiled once for prefill, once for decode, never again."""

from __future__ import annotations

from collections.abc import Callable

import torch

from model.layer_weights import LayerFn, LayerWeights


class CompiledLayer:
    """`torch.compile` of a decoder layer, with the dimensions that change from step to step declared as such.

    They are declared "unbacked": the compiler may assume nothing about them. It then neither specialises for sizes
    of one, nor guards on two sizes that happened to be equal in the first call, nor tunes the code, and so the
    rounding, to the first call's sizes. All other sizes are constants of the code.
    """

    def __init__(self, layer_fn: LayerFn, *, backend: str | Callable[..., object] = "inductor") -> None:
        """Compiles nothing yet: the first call of each phase does.

        Args:
            layer_fn: `decoder_layer`.
            backend: What makes code of the traced graph, as in `torch.compile`.
        """
        # Inductor is to round where eager code rounds: a fused kernel would carry float32 across operations.
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
        block_tables: torch.Tensor,
        is_decode: bool,
    ) -> torch.Tensor:
        """As `decoder_layer`."""
        for tensor in (hidden, cos, sin, slots):
            _declare(tensor, 0, "tokens")
        _declare(query_start, 0, "query_start")
        _declare(context_lens, 0, "sequences")
        _declare(block_tables, 0, "sequences")
        _declare(block_tables, 1, "pages_of_a_sequence")
        _declare(cache, 0, "pages")
        return self._compiled(
            hidden, weights, cache, cos, sin, slots, query_start, context_lens, block_tables, is_decode
        )


def _declare(tensor: torch.Tensor, dim: int, size_name: str) -> None:
    if dim not in getattr(tensor, "_dynamo_unbacked_indices", ()):  # a step's layers share all but the hidden states
        torch._dynamo.decorators.mark_unbacked(tensor, dim, shape_id=size_name)
