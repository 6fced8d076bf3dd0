"""Measure the share of the memory bandwidth that a single sequence's decode steps reach.

    python -m benchmarks.latency.lone_stream --model FOLDER [--quantize int8] [--tokens 128] [--threads 2]

A step of one sequence reads every weight once, so memory bandwidth bounds it. On shared machines the memory's speed
changes from one second to the next. Therefore the engine's thread reads a large tensor after every step, in the fastest
known way. Each step is compared with the reads before and after it.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch

from cli.offline.machine_speed import READ_BYTES, fastest_read
from cli.offline.roofline import MachineSpeed, ModelCost, decode_limit
from engine.execution.model_runner import ModelRunner
from engine.execution.short_thread import on_a_short_thread
from engine.load import load_engine
from engine.machine.machine import Machine
from engine.request import Request
from jobs.records.sampling import SamplingParams
from jobs.settings import Settings
from model.checkpoint.config import ModelConfig
from worker.engine_options import engine_config

PROMPT = 8  # tokens
PART = 4  # part of the tensor that a read between two steps takes: long enough to measure, but short


class Step(NamedTuple):
    """One decode step and the reads after it."""

    seconds: float
    bytes_per_second: float


class StepsAndReads:
    """Times decode steps of one sequence. After each step, times a read in the same thread."""

    def __init__(self, read: Callable[[], float]) -> None:
        self.steps: list[Step] = []
        self._read = read

    def around(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """Return a replacement for `ModelRunner.run` that also measures."""

        def timed(runner: ModelRunner, batch: Any) -> Any:  # noqa: ANN401 - whatever `run` takes and gives
            started_at = time.perf_counter()
            result = run(runner, batch)
            seconds = time.perf_counter() - started_at
            if batch.phase == "decode":
                self.steps.append(Step(seconds, self._read()))
            return result

        return timed


def measure(options: argparse.Namespace) -> list[Step]:
    """Return the steps of one request. The first steps are still cold."""
    settings = Settings(quantize=options.quantize, prefix_caching=False, speculate=False)
    config = replace(engine_config(settings), threads=options.threads)
    loaded = load_engine(options.model, config, log=lambda line: print(line, file=sys.stderr))
    watched = StepsAndReads(on_a_short_thread(lambda: fastest_read(READ_BYTES // PART)))
    prompt = torch.randint(loaded.tokenizer.vocab_size, (PROMPT,)).tolist()
    request = Request(tuple(prompt), SamplingParams(max_tokens=options.tokens, temperature=0, ignore_eos=True))
    loaded.engine.submit_many([request])[0].future.result()
    with mock.patch.object(ModelRunner, "run", watched.around(ModelRunner.run)):
        loaded.engine.submit_many([request])[0].future.result()
    loaded.engine.shutdown()
    return watched.steps


def report(steps: list[Step], cost: ModelCost) -> str:
    """Return a line with medians over the steps."""
    shares = []
    for context, (before, after) in enumerate(itertools.pairwise(steps), start=PROMPT + 2):
        machine = MachineSpeed((before.bytes_per_second + after.bytes_per_second) / 2, float("inf"))
        shares.append(1 / after.seconds / decode_limit(cost, machine, 1, context))
    reads = statistics.median(step.bytes_per_second for step in steps)
    rate = 1 / statistics.median(step.seconds for step in steps)
    return (
        f"{rate:.1f} tokens/s, {statistics.median(shares):.0%} of what memory allows"
        f" (it reads {reads / 1e9:.1f} GB/s between the steps)"
    )


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--quantize", default="none")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=Machine.inspect().cores, help="(default: physical cores)")
    options = parser.parse_args()
    with torch.inference_mode():
        steps = measure(options)
    print(report(steps, ModelCost.of_model(ModelConfig.from_folder(options.model), options.quantize)))


if __name__ == "__main__":
    main()
