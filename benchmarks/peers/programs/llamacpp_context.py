"""One llama.cpp context, through the low-level functions of llama-cpp-python."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import llama_cpp
import numpy as np


@dataclass(frozen=True)
class ContextSettings:
    """Settings of a context."""

    threads: int
    parallel: int  # max sequences at a time
    split: bool  # True: every sequence has an equal part of the cache. False: all share one.
    batch_tokens: int  # max tokens per step
    max_context: int = 32_768  # cache positions, all sequences together


@dataclass(frozen=True)
class Piece:
    """The part of one sequence that a step computes."""

    sequence: int
    token_ids: list[int]
    position: int  # position of the first token
    predict: bool  # True if the next token is wanted


class LlamaContext:
    """A cache for a number of sequences and one batch to fill. `close` frees both."""

    def __init__(self, model: llama_cpp.llama_model_p, settings: ContextSettings, positions: list[int]) -> None:
        """Create a context. The cache is as large as requests of so many `positions` need, within the settings.

        Raises:
            SystemExit: llama.cpp cannot create the context.
        """
        self.num_sequences, self.num_positions = _size(settings, positions)
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = self.num_positions
        parameters.n_seq_max = self.num_sequences
        parameters.n_batch = parameters.n_ubatch = max(settings.batch_tokens, self.num_sequences)
        parameters.n_threads = parameters.n_threads_batch = settings.threads
        parameters.kv_unified = not settings.split
        self._context = llama_cpp.llama_init_from_model(model, parameters)
        if not self._context:
            raise SystemExit("llama.cpp cannot create the context.")
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self._memory = llama_cpp.llama_get_memory(self._context)
        self.batch_tokens = size = llama_cpp.llama_n_batch(self._context)
        self._batch = llama_cpp.llama_batch_init(size, 0, 1)
        self._tokens = np.ctypeslib.as_array(self._batch.token, (size,))
        self._positions = np.ctypeslib.as_array(self._batch.pos, (size,))
        self._wanted = np.ctypeslib.as_array(self._batch.logits, (size,))
        np.ctypeslib.as_array(self._batch.n_seq_id, (size,))[:] = 1

    def step(self, pieces: list[Piece]) -> list[int]:
        """Compute the pieces. Returns the likeliest next token of each piece that needs one, in order."""
        end = wanted = 0
        for piece in pieces:
            start, end = end, end + len(piece.token_ids)
            self._tokens[start:end] = piece.token_ids
            self._positions[start:end] = range(piece.position, piece.position + len(piece.token_ids))
            self._wanted[start:end] = 0
            self._wanted[end - 1] = piece.predict
            for row in range(start, end):
                self._batch.seq_id[row][0] = piece.sequence
            wanted += piece.predict
        self._batch.n_tokens = end
        status = llama_cpp.llama_decode(self._context, self._batch)
        if status != 0:
            raise SystemExit(f"llama_decode returned {status}.")
        if wanted == 0:
            return []
        logits = ctypes.cast(llama_cpp.llama_get_logits(self._context), ctypes.POINTER(ctypes.c_float))
        best: list[int] = np.ctypeslib.as_array(logits, (wanted, self._vocab_size)).argmax(axis=1).tolist()
        return best

    def forget(self, sequence: int) -> None:
        """Free the cache of a finished sequence."""
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def close(self) -> None:
        """Free the context and its batch."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)


def _size(settings: ContextSettings, positions: list[int]) -> tuple[int, int]:
    """Return the number of sequences and the number of the cache's positions."""
    limit = min(settings.parallel, len(positions), llama_cpp.llama_max_parallel_sequences())
    if settings.split:
        share = _round_up(max(positions))
        sequences = max(1, min(limit, settings.max_context // share))
        return sequences, share * sequences
    return limit, _round_up(min(settings.max_context, sum(sorted(positions)[-limit:])))


def _round_up(number: int, step: int = 256) -> int:
    return -(-number // step) * step
