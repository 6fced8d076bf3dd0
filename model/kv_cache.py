"""The one cache of keys and values: pages of a fixed number of tokens, shared by all sequences."""

from __future__ import annotations

import torch

from model.checkpoint.config import ModelConfig
from model.memory.zeroed_memory import zeroed_tensor


class PagedKVCache:
    """Keys and values of every layer, page by page. Which page belongs to whom is the caller's business.

    A page's keys and then its values lie side by side: attention reads both, and reads of memory that begin at fewer
    places are faster. Pages start as zeros: masked positions are read, and what is read must be finite.
    """

    layers: list[torch.Tensor]  # a layer: [num_pages, 2, num_kv_heads, page_size, head_dim]

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


def bytes_per_page(config: ModelConfig, page_size: int, dtype: torch.dtype) -> int:
    """Bytes of one page over all layers, keys and values."""
    return 2 * config.num_layers * config.num_kv_heads * page_size * config.head_dim * dtype.itemsize


def _zeros(shape: tuple[int, ...], device: torch.device | str, dtype: torch.dtype) -> torch.Tensor:
    if torch.device(device).type == "cpu":
        return zeroed_tensor(shape, dtype)
    return torch.zeros(shape, device=device, dtype=dtype)
