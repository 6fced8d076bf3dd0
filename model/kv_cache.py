"""The KV cache: pages of a fixed number of tokens, shared by all sequences."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from model.checkpoint.config import ModelConfig
from model.memory.zeroed_memory import zeroed_tensor


class PagedKVCache:
    """Keys and values of every layer in pages. The caller decides which sequence owns a page.

    A page's values follow its keys in memory. Attention reads both, and memory reads with fewer start addresses are
    faster. Pages start as zeros, because attention reads masked positions, too, and their contents must be finite.
    """

    layers: list[torch.Tensor]  # one tensor per layer: [num_pages, 2, num_kv_heads, page_size, head_dim]

    def __init__(
        self,
        config: ModelConfig,
        num_pages: int,
        page_size: int,
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> None:
        self.num_pages = num_pages
        self.page_size = page_size
        shape = (num_pages, 2, config.num_kv_heads, page_size, config.head_dim)
        self.layers = [_zeros(shape, device, dtype) for _ in range(config.num_layers)]

    def copy_pages(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy pages in every layer. All sources are read before any target is written.

        Args:
            sources: The pages to read, as many as targets.
            targets: The pages to write, each at most once.
        """
        device = self.layers[0].device
        read, written = torch.tensor(sources, device=device), torch.tensor(targets, device=device)
        for layer in self.layers:
            layer[written] = layer[read]


def bytes_per_page(config: ModelConfig, page_size: int, dtype: torch.dtype) -> int:
    """Return the bytes of one page: keys and values of all layers."""
    return 2 * config.num_layers * config.num_kv_heads * page_size * config.head_dim * dtype.itemsize


def _zeros(shape: tuple[int, ...], device: torch.device | str, dtype: torch.dtype) -> torch.Tensor:
    if torch.device(device).type == "cpu":
        return zeroed_tensor(shape, dtype)
    return torch.zeros(shape, device=device, dtype=dtype)
