"""A batch as tensors, built in buffers that live as long as the engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from engine.execution.device_buffer import DeviceBuffer, Fence
from engine.scheduling.batch import Batch
from engine.scheduling.block_manager import SINK_PAGE
from engine.scheduling.sequence import Sequence
from model.attention_metadata import AttentionMetadata

PADDING = 2  # the most that a step can lack: it has at least two rows, two sequences, two block-table columns


@dataclass(frozen=True)
class StepInputs:
    """Everything a forward pass takes. Views of the buffers: valid until the next step is built.

    Steps of one shape lie at one place in the device's memory.
    """

    token_ids: torch.Tensor  # [num_tokens] int64
    metadata: AttentionMetadata
    sampling: torch.Tensor  # [max(2, sampling sequences)] int64, sequences that are sampled for; none: empty


class StepBuffers:
    """Builds the inputs of one step after the other; no Python runs a token, only a sequence.

    Args:
        max_tokens: Tokens of the largest step.
        max_seqs: Sequences of the largest step.
        max_pages: Pages of the longest sequence.
        page_size: Tokens a page.
        device: Where the model is.
        fence: Tells when the device has copied a step's inputs, where it does so on its own.
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
        self.max_pages = max(max_pages, PADDING)
        rows, seqs = max_tokens + PADDING, max_seqs + PADDING
        self._page_size = page_size
        self._token_ids = DeviceBuffer(rows, torch.int64, device)
        self._positions = DeviceBuffer(rows, torch.int64, device)
        self._slots = DeviceBuffer(rows, torch.int64, device)
        self._query_start = DeviceBuffer(seqs + 1, torch.int32, device)
        self._context_lens = DeviceBuffer(seqs, torch.int32, device)
        self._block_tables = DeviceBuffer(seqs * self.max_pages, torch.int32, device)
        self._sampling = DeviceBuffer(seqs, torch.int64, device)

    def build(self, batch: Batch, *, least_seqs: int = PADDING, least_pages: int = PADDING) -> StepInputs:
        """The inputs of a batch, filled up with sequences of one token of their own on the sink page.

        Args:
            batch: The step.
            least_seqs: Rows and sequences that it has at least.
            least_pages: Columns that the block tables have at least.
        """
        if self._fence is not None:
            self._fence.synchronize()  # a step that samples nothing is over before its inputs are copied
        tables = self._fill_block_tables(batch.sequences, least_seqs, least_pages)
        self._fill_decodes(batch, tables)
        num_rows = self._fill_prompts(batch, tables)
        num_seqs = len(batch.sequences)
        while num_rows < least_seqs or num_seqs < least_seqs:
            self._add_padding(num_rows, num_seqs)
            num_rows, num_seqs = num_rows + 1, num_seqs + 1
        metadata = AttentionMetadata(
            positions=self._positions.on_device(num_rows),
            slots=self._slots.on_device(num_rows),
            query_start=self._query_start.on_device(num_seqs + 1),
            context_lens=self._context_lens.on_device(num_seqs),
            block_tables=self._block_tables.on_device(*tables.shape),
            num_decodes=num_seqs if batch.phase == "decode" else batch.num_decodes,
        )
        inputs = StepInputs(self._token_ids.on_device(num_rows), metadata, self._fill_sampling(batch))
        if self._fence is not None:
            self._fence.record()
        return inputs

    def _fill_block_tables(self, sequences: tuple[Sequence, ...], least_seqs: int, least_pages: int) -> np.ndarray:
        """[sequences, pages of the longest] without gaps in memory; entries past a sequence's own are the sink."""
        width = max(least_pages, *(len(sequence.block_table) for sequence in sequences))
        shape = (max(least_seqs, len(sequences)), width)
        tables = self._block_tables.array[: shape[0] * width].reshape(shape)
        tables.fill(SINK_PAGE)
        for row, sequence in zip(tables, sequences, strict=False):
            row[: len(sequence.block_table)] = sequence.block_table
        return tables

    def _fill_decodes(self, batch: Batch, tables: np.ndarray) -> None:
        count = batch.num_decodes
        sequences = batch.sequences[:count]
        positions = self._positions.array[:count]
        positions[:] = [sequence.num_computed for sequence in sequences]
        self._token_ids.array[:count] = [sequence.tokens[sequence.num_computed] for sequence in sequences]
        pages, places = np.divmod(positions, self._page_size)
        self._slots.array[:count] = tables[np.arange(count), pages] * self._page_size + places
        self._context_lens.array[:count] = positions + 1
        self._query_start.array[: count + 1] = np.arange(count + 1)

    def _fill_prompts(self, batch: Batch, tables: np.ndarray) -> int:
        """Returns the step's rows."""
        end = batch.num_decodes
        for index in range(batch.num_decodes, len(batch.sequences)):
            sequence, count = batch.sequences[index], batch.num_tokens[index]
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

    def _fill_sampling(self, batch: Batch) -> torch.Tensor:
        """A lone row is doubled: one row takes another matrix kernel, with other bits."""
        count = len(batch.sampling)
        self._sampling.array[:count] = batch.sampling
        if count == 1:
            self._sampling.array[1] = batch.sampling[0]
            count = 2
        return self._sampling.on_device(count)
