"""A clock around each part of an engine's decode steps."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

from engine.execution.model_runner import ModelRunner
from engine.execution.step_inputs import StepBuffers
from model.qwen3 import Qwen3ForCausalLM

LAYERS, HEAD, SAMPLING = "layers", "output layer", "sampling"
INPUTS, BETWEEN = "filling the inputs", "between steps"


class StepClock:
    """Measures the milliseconds of each part of each full decode step, by wrapping the functions that a step calls."""

    def __init__(self, sequences: int) -> None:
        self.parts: dict[str, list[float]] = defaultdict(list)
        self._sequences = sequences
        self._models: list[Qwen3ForCausalLM] = []
        self._ended_at: float | None = None  # end of the previous step, if that was a full one
        self._inside: dict[str, float] = {}

    @property
    def model(self) -> Qwen3ForCausalLM:
        """The model whose steps were timed. Raises `IndexError` before the first step."""
        return self._models[0]

    def installed(self) -> ExitStack:
        """Install the clock for the duration of the context."""
        stack = ExitStack()
        stack.enter_context(mock.patch.object(ModelRunner, "run", self._around_step(ModelRunner.run)))
        for owner, name, part in (
            (StepBuffers, "build", INPUTS),
            (Qwen3ForCausalLM, "forward", LAYERS),
            (Qwen3ForCausalLM, "rounded_logits", HEAD),
            (Qwen3ForCausalLM, "largest_logits", HEAD),
        ):
            stack.enter_context(mock.patch.object(owner, name, self._around_part(getattr(owner, name), part)))
        return stack

    def _around_step(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def timed(runner: ModelRunner, batch: Any) -> Any:  # noqa: ANN401 - whatever `run` takes and gives
            started_at, self._inside = time.perf_counter(), {}
            result = run(runner, batch)
            ended_at = time.perf_counter()
            full = batch.phase == "decode" and len(batch.sequences) == self._sequences
            if full and self._ended_at is not None:
                self._inside[SAMPLING] = ended_at - started_at - sum(self._inside.values())
                self._inside[BETWEEN] = started_at - self._ended_at
                for part, seconds in self._inside.items():
                    self.parts[part].append(seconds * 1000)
            self._ended_at = ended_at if full else None
            return result

        return timed

    def _around_part(self, call: Callable[..., Any], part: str) -> Callable[..., Any]:
        def timed(owner: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever the part takes and gives
            started_at = time.perf_counter()
            result = call(owner, *arguments, **options)
            self._inside[part] = self._inside.get(part, 0) + time.perf_counter() - started_at
            if isinstance(owner, Qwen3ForCausalLM):
                self._models = [owner]
            return result

        return timed
