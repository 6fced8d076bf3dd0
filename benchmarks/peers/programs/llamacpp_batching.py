"""Continuous batching over a llama.cpp context, as in llama.cpp's own server."""

from __future__ import annotations

from collections import deque

from benchmarks.peers.programs.llamacpp_context import LlamaContext, Piece
from benchmarks.peers.tasks.task import Task


class ContinuousBatch:
    """One run of a task. Each step holds a token of every decoding request, then prompt tokens of the others."""

    def __init__(self, context: LlamaContext, task: Task) -> None:
        self._context = context
        self._task = task
        self._outputs: list[list[int]] = [[] for _ in task.prompts]
        self._computed = [0] * task.requests  # positions in the cache
        self._waiting = deque(range(task.requests))
        self._sequence_of: dict[int, int] = {}  # sequence of each running request
        self._free_sequences = set(range(context.num_sequences))
        self._free_positions = context.num_positions

    def run(self) -> list[list[int]]:
        """Run the task and return the new ids of every request."""
        while self._waiting or self._sequence_of:
            self._admit()
            pieces, predicting = self._next_step()
            for request, token in zip(predicting, self._context.step(pieces), strict=True):
                self._outputs[request].append(token)
                if len(self._outputs[request]) == self._task.lengths[request]:
                    self._finish(request)
        return self._outputs

    def _admit(self) -> None:
        while self._waiting and self._free_sequences:
            if self._task.positions[self._waiting[0]] > self._free_positions:
                break
            request = self._waiting.popleft()
            self._sequence_of[request] = min(self._free_sequences)
            self._free_sequences.remove(self._sequence_of[request])
            self._free_positions -= self._task.positions[request]

    def _finish(self, request: int) -> None:
        sequence = self._sequence_of.pop(request)
        self._context.forget(sequence)
        self._free_sequences.add(sequence)
        self._free_positions += self._task.positions[request]

    def _next_step(self) -> tuple[list[Piece], list[int]]:
        """Return the pieces of the next step, and the requests for which it predicts a token, in the same order."""
        left, pieces, predicting = self._context.batch_tokens, [], []
        for request in sorted(self._sequence_of, key=self._turn):
            prompt, done = self._task.prompts[request], self._computed[request]
            token_ids = (prompt[done:] or self._outputs[request][-1:])[:left]
            if not token_ids:
                break
            self._computed[request] += len(token_ids)
            left -= len(token_ids)
            predict = self._computed[request] >= len(prompt)
            pieces.append(Piece(self._sequence_of[request], token_ids, done, predict))
            if predict:
                predicting.append(request)
        return pieces, predicting

    def _turn(self, request: int) -> tuple[bool, int]:
        """Return a request's sort key: decoding requests come first, each group in the order of its sequences."""
        return self._computed[request] < len(self._task.prompts[request]), self._sequence_of[request]
