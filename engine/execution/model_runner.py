"""The model runner runs batches on the device. Device, dtype and compilation are handled only here."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import torch

from engine.config import PAGE_SIZE, ResolvedConfig
from engine.execution.compilation import compiled_layers
from engine.execution.decode_graphs import CudaRecorder, DecodeGraphs, Record, Step, ladder
from engine.execution.heap import keep_freed_memory
from engine.execution.masks import MaskThreads, PendingMasks
from engine.execution.next_tokens import NextTokens, sampling_row
from engine.execution.step_inputs import StepBuffers, StepInputs
from engine.machine.resolve import TORCH_DTYPES
from engine.request import Pooling
from engine.scheduling.batch import Batch, Outcome
from engine.scheduling.sequence import Sequence
from engine.speculation.drafting import FEW_ROWS, MANY_ROWS, row_cost
from model.fused_layers import FusedLayers
from model.kv_cache import PagedKVCache
from model.pooling.readings import embedding_of, float32_bytes
from model.qwen3 import Qwen3ForCausalLM, plain_layers


class ModelRunner:
    """Feeds a batch's tokens to the model and samples the next ids. Implements `engine.requests.ports.Runner`.

    Only one thread may use it at a time.
    """

    def __init__(
        self, model: Qwen3ForCausalLM, config: ResolvedConfig, log: Callable[[str], None], record: Record | None = None
    ) -> None:
        """Allocate the cache and the input buffers.

        Args:
            model: The model, already on its device.
            config: Settings resolved for this machine and this checkpoint.
            log: Called with each message for the user.
            record: Records a decode step for replays (`engine.execution.decode_graphs`). None: record nothing.
        """
        self._record = record
        self._graphs = DecodeGraphs()
        self._model = model
        self._next_tokens = NextTokens(model)
        self._masks = MaskThreads(torch.device(config.device))
        self._config = config
        self._log = log
        self._device = torch.device(config.device)
        self.compiled = False
        self.mixes = False  # True if a step may both decode and prefill; known after `warm_up`
        self.row_cost: float | None = None  # see `engine.speculation.drafting`; None: guess no tokens
        self._cache = PagedKVCache(model.config, config.num_pages, PAGE_SIZE, self._device, model.dtype)
        copied = torch.cuda.Event() if self._device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._buffers = StepBuffers(
            max_tokens=config.policy.max_batched_tokens + config.policy.max_running,
            max_seqs=config.policy.max_running,
            max_pages=-(-config.max_model_len // PAGE_SIZE),
            page_size=PAGE_SIZE,
            device=self._device,
            fence=copied,
        )

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        config: ResolvedConfig,
        *,
        vocab_limit: int,
        has_kernels: bool,
        log: Callable[[str], None],
    ) -> Self:
        """Load a checkpoint and allocate its cache. Sets the number of CPU threads of the whole process.

        Args:
            folder: The checkpoint.
            config: Settings resolved for this machine and this checkpoint.
            vocab_limit: The tokenizer's size. Ids from this one on are never sampled.
            has_kernels: True if this project's own kernels are loaded (`engine.execution.kernels.load_kernels_for`).
            log: Called with each message for the user.

        Raises:
            ModelUnusable: The checkpoint cannot be loaded.
        """
        torch.set_num_threads(config.threads)
        model = Qwen3ForCausalLM.from_folder(
            folder,
            dtype=TORCH_DTYPES[config.dtype],
            device=config.device,
            vocab_limit=vocab_limit,
            quantize=config.quantize,
            max_model_len=config.max_model_len,
        )
        # Attention in plain PyTorch reads lengths back from the device. Such a wait cannot be recorded.
        record = CudaRecorder(model.device) if has_kernels and model.device.type == "cuda" else None
        return cls(model, config, log, record)

    @torch.inference_mode()
    def run(self, batch: Batch) -> list[Outcome]:
        """Feed the batch's tokens, and return what was sampled and what was pooled (see `Runner.run`)."""
        if batch.copies:
            sources, targets = zip(*batch.copies, strict=True)
            self._cache.copy_pages(sources, targets)
        masks = self._masks.begin(batch)
        size = self._graphs.size_for(batch.num_decode_rows) if batch.phase == "decode" else None
        if size is None:
            inputs = self._buffers.build(batch)
            hidden = self._model.forward(inputs.token_ids, inputs.metadata, self._cache, last_only=True)
        else:
            inputs = self._build_recorded(batch, size)
            hidden = self._graphs.replay(size)
        if not batch.sampling:
            return []
        states = hidden[inputs.sampling]
        outcomes: list[Outcome] = [0] * len(batch.sampling)
        if len(batch.pooled_rows) < len(batch.sampling):  # some sequences need the output layer
            outcomes[:] = self._sampled(batch, states, masks)
        for row, pooled in self._pooled(batch, states):
            outcomes[row] = pooled
        return outcomes

    def _sampled(self, batch: Batch, states: torch.Tensor, masks: PendingMasks | None) -> list[Outcome]:
        """Sample a token for each row. The tokens of rows that pool are ignored."""
        vocab = self._model.valid_vocab
        rows = [sampling_row(batch.sequences[index], vocab, drafted) for index, drafted in batch.sampled_rows()]
        return self._next_tokens.choose(states, rows, masks.take(self._device) if masks else None)

    def _pooled(self, batch: Batch, states: torch.Tensor) -> Iterator[tuple[int, bytes]]:
        """Yield each row that pools, with what its sequence wants of the last hidden states [rows, hidden_size]."""
        rows_of_labels: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for row in batch.pooled_rows:
            pooling = batch.sequences[batch.sampling[row]].ticket.request.pooling
            assert pooling is not None
            if pooling.label_ids:
                rows_of_labels[pooling.label_ids].append(row)
            else:
                yield row, float32_bytes(embedding_of(states[row], pooling.dimensions))
        for label_ids, rows in rows_of_labels.items():
            logits = self._model.label_logits(states[rows], label_ids)
            yield from zip(rows, map(float32_bytes, logits), strict=True)

    def warm_up(self) -> float:
        """Compile the layers by small steps of each phase and record decode steps, before the first real step.

        Layers that cannot be compiled run eagerly. Without recordings, decode steps run unrecorded. The log says why.

        Returns:
            Seconds for compilation and recording; 0 if nothing is compiled.
        """
        if self._device.type == "cpu":
            keep_freed_memory()
        started_at = time.monotonic()
        self.compiled = self._config.compile and self._compile()
        if not self.compiled:
            self._run_small_steps()
        if self._config.compile and self._record is not None and self._model.generates:
            self._graphs = self._record_decode(self._record)
        compile_seconds = time.monotonic() - started_at if self.compiled else 0.0
        if self._config.speculate and self._config.policy.max_running >= MANY_ROWS and self._model.generates:
            self.row_cost = self._measure_row_cost()
        return compile_seconds

    def _compile(self) -> bool:
        layers_fn = compiled_layers(self._model, self._log)
        if layers_fn is None:
            return False
        self._model.layers_fn = layers_fn
        self.mixes = isinstance(layers_fn, FusedLayers)
        self._buffers.lone_rows = self.mixes and self._model.has_packed_output_layer
        try:
            self._run_small_steps()
        except Exception as error:  # a compiler has many ways to fail; the model runs without it
            if self.mixes:
                raise  # nothing is compiled here, so this error would come again
            self._log(f"Running without torch.compile, which failed: {_cause(error)}")
            self._model.layers_fn = plain_layers
            return False
        return True

    @torch.inference_mode()
    def _record_decode(self, record: Record) -> DecodeGraphs:
        def step_of(size: int) -> Step:
            inputs = self._build_recorded(Batch.decode([Sequence.on_sink_page()]), size)
            return lambda: self._model.forward(inputs.token_ids, inputs.metadata, self._cache)

        try:
            return DecodeGraphs.of(ladder(self._config.policy.max_running), step_of, record)
        except Exception as error:  # noqa: BLE001 - drivers have many ways to fail; steps run without recordings
            self._log(f"Running without recorded decode steps, which failed: {_cause(error)}")
            return DecodeGraphs()

    def _build_recorded(self, batch: Batch, size: int) -> StepInputs:
        """Return the batch's inputs, padded to the shape of the recorded step of `size` sequences."""
        return self._buffers.build(batch, min_seqs=size, min_pages=self._buffers.max_pages)

    def _measure_row_cost(self) -> float:
        """Time small and larger decode steps in turn, and return the cost of a row from the shortest of each."""
        sequences = [Sequence.on_sink_page() for _ in range(MANY_ROWS)]
        for sequence in sequences:
            sequence.num_computed = 2
        seconds: dict[int, list[float]] = {FEW_ROWS: [], MANY_ROWS: []}
        for num_rows in (FEW_ROWS, MANY_ROWS) * 2:
            started_at = time.perf_counter()
            self.run(Batch.decode(sequences[:num_rows]))
            seconds[num_rows].append(time.perf_counter() - started_at)
        return row_cost(min(seconds[FEW_ROWS]), min(seconds[MANY_ROWS]))

    def _run_small_steps(self) -> None:
        """Run a prefill and a decode step of two sequences, then of one. An embedding model never decodes."""
        pooling = None if self._model.generates else Pooling()
        for count in (2, 1):
            sequences = [Sequence.on_sink_page(pooling) for _ in range(count)]
            self.run(Batch.prefill(sequences, [3] * count))
            if pooling is not None:
                continue
            for sequence in sequences:
                sequence.num_computed = 2
            self.run(Batch.decode(sequences))


def _cause(error: Exception) -> str:
    """Return an error's first line. If the compiler has wrapped the real error, that one is used."""
    inner = getattr(error, "inner_exception", error)
    return f"{type(inner).__name__}: {str(inner).strip().partition(chr(10))[0]}"
