"""A batch as tensors, built in buffers that live as long as the engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from engine.batch import Batch
from engine.block_manager import SINK_PAGE
from engine.sequence import Sequence
from model.attention_metadata import AttentionMetadata

PADDING = 2  # the most that a step can lack: it has at least two rows, two sequences, two block-table columns


@dataclass(frozen=True)
class StepInputs:
    """Everything a forward pass takes. Views of the buffers: valid until the next step is built."""

    token_ids: torch.Tensor  # [num_tokens] int64
    metadata: AttentionMetadata
    last_rows: torch.Tensor  # [max(2, sampling sequences)] int64, rows whose hidden states are sampled; none: empty


class _Buffer:
    """A flat host buffer as a NumPy array, and the way of its beginning to the device."""

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device) -> None:
        # Pinned memory is copied to a GPU without waiting; on a CPU the device's tensor is the buffer itself.
        self._tensor = torch.zeros(size, dtype=dtype, pin_memory=device.type == "cuda")
        self._device = device
        self.array = self._tensor.numpy()

    def on_device(self, *shape: int) -> torch.Tensor:
        """The first elements, in this shape."""
        return self._tensor[: int(np.prod(shape))].view(shape).to(self._device, non_blocking=True)


class StepBuffers:
    """Builds the inputs of one step after the other; no Python runs a token, only a sequence.

    Args:
        max_tokens: Tokens of the largest step.
        max_seqs: Sequences of the largest step.
        max_pages: Pages of the longest sequence.
        page_size: Tokens a page.
        device: Where the model is.
    """

    def __init__(self, *, max_tokens: int, max_seqs: int, max_pages: int, page_size: int, device: torch.device) -> None:
        rows, seqs = max_tokens + PADDING, max_seqs + PADDING
        self._page_size = page_size
        self._token_ids = _Buffer(rows, torch.int64, device)
        self._positions = _Buffer(rows, torch.int64, device)
        self._slots = _Buffer(rows, torch.int64, device)
        self._query_start = _Buffer(seqs + 1, torch.int32, device)
        self._context_lens = _Buffer(seqs, torch.int32, device)
        self._block_tables = _Buffer(seqs * max(max_pages, PADDING), torch.int32, device)
        self._last_rows = _Buffer(seqs, torch.int64, device)

    def build(self, batch: Batch) -> StepInputs:
        """The inputs of a batch, padded with tokens of their own on the sink page."""
        tables = self._fill_block_tables(batch.sequences)
        if batch.phase == "decode":
            num_rows = self._fill_decode(batch.sequences, tables)
        else:
            num_rows = self._fill_prefill(batch, tables)
        num_seqs = len(batch.sequences)
        while num_rows < PADDING or num_seqs < PADDING:
            self._add_padding(num_rows, num_seqs)
            num_rows, num_seqs = num_rows + 1, num_seqs + 1
        metadata = AttentionMetadata(
            positions=self._positions.on_device(num_rows),
            slots=self._slots.on_device(num_rows),
            query_start=self._query_start.on_device(num_seqs + 1),
            context_lens=self._context_lens.on_device(num_seqs),
            block_tables=self._block_tables.on_device(*tables.shape),
            is_decode=batch.phase == "decode",
        )
        return StepInputs(self._token_ids.on_device(num_rows), metadata, self._fill_last_rows(batch))

    def _fill_block_tables(self, sequences: tuple[Sequence, ...]) -> np.ndarray:
        """[sequences, pages of the longest] without gaps in memory; entries past a sequence's own are the sink."""
        width = max(PADDING, *(len(sequence.block_table) for sequence in sequences))
        shape = (max(PADDING, len(sequences)), width)
        tables = self._block_tables.array[: shape[0] * width].reshape(shape)
        tables.fill(SINK_PAGE)
        for row, sequence in zip(tables, sequences, strict=False):
            row[: len(sequence.block_table)] = sequence.block_table
        return tables

    def _fill_decode(self, sequences: tuple[Sequence, ...], tables: np.ndarray) -> int:
        count = len(sequences)
        positions = self._positions.array[:count]
        positions[:] = [sequence.num_computed for sequence in sequences]
        self._token_ids.array[:count] = [sequence.tokens[sequence.num_computed] for sequence in sequences]
        pages, places = np.divmod(positions, self._page_size)
        self._slots.array[:count] = tables[np.arange(count), pages] * self._page_size + places
        self._context_lens.array[:count] = positions + 1
        self._query_start.array[: count + 1] = np.arange(count + 1)
        return count

    def _fill_prefill(self, batch: Batch, tables: np.ndarray) -> int:
        end = 0
        self._query_start.array[0] = 0
        for index, (sequence, count) in enumerate(zip(batch.sequences, batch.num_tokens, strict=True)):
            start, end = end, end + count
            first = sequence.num_computed
            positions = np.arange(first, first + count)
            pages, places = np.divmod(positions, self._page_size)
            self._positions.array[start:end] = positions
            self._token_ids.array[start:end] = sequence.tokens[first : first + count]
            self._slots.array[start:end] = tables[index, pages] * self._page_size + places
            self._context_lens.array[index] = first + count
            self._query_start.array[index + 1] = end
        return end

    def _add_padding(self, row: int, index: int) -> None:
        """A sequence of one token that is written to, and read from, the sink page."""
        self._token_ids.array[row] = 0
        self._positions.array[row] = 0
        self._slots.array[row] = SINK_PAGE * self._page_size
        self._context_lens.array[index] = 1
        self._query_start.array[index + 1] = row + 1

    def _fill_last_rows(self, batch: Batch) -> torch.Tensor:
        """A lone row is doubled: one row takes another matrix kernel, with other bits."""
        rows = self._query_start.array[1:][list(batch.sampling)] - 1
        count = len(rows)
        self._last_rows.array[:count] = rows
        if count == 1:
            self._last_rows.array[1] = rows[0]
            count = 2
        return self._last_rows.on_device(count)
