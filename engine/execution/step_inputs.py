"""Building a batch's input tensors in buffers that the host fills and the device reads.

The buffers live as long as the engine, at the same addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from engine.scheduling.batch import Batch
from engine.scheduling.page_allocator import SINK_PAGE
from model.attention_metadata import AttentionMetadata

PADDING = 2  # minimum rows, sequences and page-table columns of a step, see `StepBuffers.lone_rows`


@dataclass(frozen=True)
class StepInputs:
    """All inputs of a forward pass. They are views of the buffers, valid until the next step is built.

    Steps of equal shape have the same addresses in the device's memory.
    """

    token_ids: torch.Tensor  # [num_tokens] int64
    metadata: AttentionMetadata
    sampling: torch.Tensor  # [n] int64, indices of the n sequences to sample for; a single one may stand there twice


class Fence(Protocol):
    """A mark in the device's work queue, such as a `torch.cuda.Event`."""

    def record(self) -> None:
        """Set the mark after all work queued on the device so far."""

    def synchronize(self) -> None:
        """Wait until the device has reached the mark. Without a mark, return at once."""


class DeviceBuffer:
    """A flat host buffer, available as a NumPy array, and its copy on the device (the twin)."""

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device) -> None:
        # The host need not wait for a copy of pinned memory to a GPU. On a CPU the twin is the buffer itself.
        self._pinned = device.type == "cuda"
        self._host = torch.zeros(size, dtype=dtype, pin_memory=self._pinned)
        self._twin = self._host if device.type == "cpu" else torch.zeros(size, dtype=dtype, device=device)
        self.array = self._host.numpy()

    def on_device(self, *shape: int) -> torch.Tensor:
        """Copy the first elements to the device and return them there in `shape`, always at the same address."""
        size = int(np.prod(shape))
        if self._twin is not self._host:
            self._twin[:size].copy_(self._host[:size], non_blocking=self._pinned)
        return self._twin[:size].view(shape)


class StepBuffers:
    """Builds the inputs of each step. Python loops run per sequence, never per token.

    Attributes:
        lone_rows: False if a step needs two rows: for one row, the libraries use another matrix kernel, whose results
            differ in their bits. This project's own kernels give a row the same bits alone.

    Args:
        max_tokens: Tokens of the largest step.
        max_seqs: Sequences of the largest step.
        max_pages: Pages of the longest sequence.
        page_size: Tokens per page.
        device: The model's device.
        fence: Tells when the device has copied a step's inputs. None if copies are synchronous.
    """

    def __init__(
        self,
        *,
        max_tokens: int,
        max_seqs: int,
        max_pages: int,
        page_size: int,
        device: torch.device,
        fence: Fence | None = None,
    ) -> None:
        self._fence = fence
        self.lone_rows = False
        self.max_pages = max(max_pages, PADDING)
        rows, seqs = max_tokens + PADDING, max_seqs + PADDING
        self._page_size = page_size
        self._token_ids = DeviceBuffer(rows, torch.int64, device)
        self._positions = DeviceBuffer(rows, torch.int64, device)
        self._slots = DeviceBuffer(rows, torch.int64, device)
        self._query_start = DeviceBuffer(seqs + 1, torch.int32, device)
        self._context_lens = DeviceBuffer(seqs, torch.int32, device)
        self._page_tables = DeviceBuffer(seqs * self.max_pages, torch.int32, device)
        self._sampling = DeviceBuffer(seqs, torch.int64, device)

    def build(self, batch: Batch, *, min_seqs: int = 1, min_pages: int = PADDING) -> StepInputs:
        """Return the inputs of a batch, padded with one-token sequences on the sink page.

        Args:
            batch: The batch to run.
            min_seqs: Minimum number of rows and of sequences. Without `lone_rows`, it is at least 2.
            min_pages: Minimum number of page-table columns.
        """
        if self._fence is not None:
            self._fence.synchronize()  # `run` can return before inputs are copied, if a step samples nothing
        min_seqs = min_seqs if self.lone_rows else max(min_seqs, PADDING)
        tables = self._fill_page_tables(batch, min_seqs, min_pages)
        self._fill_decodes(batch, tables)
        num_rows = self._fill_prompts(batch, tables)
        num_seqs = batch.num_kernel_sequences
        while num_rows < min_seqs or num_seqs < min_seqs:
            self._add_padding(num_rows, num_seqs)
            num_rows, num_seqs = num_rows + 1, num_seqs + 1
        metadata = AttentionMetadata(
            positions=self._positions.on_device(num_rows),
            slots=self._slots.on_device(num_rows),
            query_start=self._query_start.on_device(num_seqs + 1),
            context_lens=self._context_lens.on_device(num_seqs),
            page_tables=self._page_tables.on_device(*tables.shape),
            num_decodes=num_seqs if batch.phase == "decode" else batch.num_decode_rows,
        )
        inputs = StepInputs(self._token_ids.on_device(num_rows), metadata, self._fill_sampling(batch))
        if self._fence is not None:
            self._fence.record()
        return inputs

    def _fill_page_tables(self, batch: Batch, min_seqs: int, min_pages: int) -> np.ndarray:
        """Return contiguous page tables [rows, pages of the longest]; unused entries are the sink page.

        There is a row per token that decodes, and a row per prompt.
        """
        width = max(min_pages, *(len(sequence.page_table) for sequence in batch.sequences))
        shape = (max(min_seqs, batch.num_kernel_sequences), width)
        tables = self._page_tables.array[: shape[0] * width].reshape(shape)
        tables.fill(SINK_PAGE)
        rows = iter(tables)
        for index, sequence in enumerate(batch.sequences):
            for _ in range(batch.num_tokens[index] if index < batch.num_decodes else 1):
                next(rows)[: len(sequence.page_table)] = sequence.page_table
        return tables

    def _fill_decodes(self, batch: Batch, tables: np.ndarray) -> None:
        """Fill in the tokens that decode. Each is a sequence of its own for the kernel, with its own context length."""
        count = batch.num_decode_rows
        decoding = batch.sequences[: batch.num_decodes]
        positions = self._positions.array[:count]
        if batch.feeds_several:
            pairs = list(zip(decoding, batch.num_tokens, strict=False))
            positions[:] = [each.num_computed + place for each, fed in pairs for place in range(fed)]
            self._token_ids.array[:count] = [token_id for each, fed in pairs for token_id in each.fed(fed)]
        else:
            positions[:] = [each.num_computed for each in decoding]
            self._token_ids.array[:count] = [each.tokens[each.num_computed] for each in decoding]
        pages, places = np.divmod(positions, self._page_size)
        self._slots.array[:count] = tables[np.arange(count), pages] * self._page_size + places
        self._context_lens.array[:count] = positions + 1
        self._query_start.array[: count + 1] = np.arange(count + 1)

    def _fill_prompts(self, batch: Batch, tables: np.ndarray) -> int:
        """Fill in the rows of the prompts and return the step's total number of rows."""
        end = index = batch.num_decode_rows
        for sequence, count in zip(
            batch.sequences[batch.num_decodes :], batch.num_tokens[batch.num_decodes :], strict=True
        ):
            start, end = end, end + count
            first = sequence.num_computed
            positions = np.arange(first, first + count)
            pages, places = np.divmod(positions, self._page_size)
            self._positions.array[start:end] = positions
            self._token_ids.array[start:end] = sequence.tokens[first : first + count]
            self._slots.array[start:end] = tables[index, pages] * self._page_size + places
            self._context_lens.array[index] = first + count
            self._query_start.array[index + 1] = end
            index += 1
        return end

    def _add_padding(self, row: int, index: int) -> None:
        """Add a one-token sequence that writes to and reads from the sink page."""
        self._token_ids.array[row] = 0
        self._positions.array[row] = 0
        self._slots.array[row] = SINK_PAGE * self._page_size
        self._context_lens.array[index] = 1
        self._query_start.array[index + 1] = row + 1

    def _fill_sampling(self, batch: Batch) -> torch.Tensor:
        """Fill in the sequences to sample for. Without `lone_rows`, a single one is doubled."""
        count = len(batch.sampling)
        self._sampling.array[:count] = batch.sampled_at()
        if count == 1 and not self.lone_rows:
            self._sampling.array[1] = self._sampling.array[0]
            count = 2
        return self._sampling.on_device(count)
