"""Measure the parts of a decode step. Print a table, and draw a picture if a folder is given.

    python -m benchmarks.kernels.step_parts --model FOLDER [--sequences 64] [--output docs/benchmarks]

An engine decodes this number of equal requests, with a clock around each part of its steps. The layers are one C++
call, in which threads may multiply and attend at the same time. Therefore products and attention are also timed alone,
by all threads and over all layers.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.kernels.decode_attention import CachedLayers, Heads
from benchmarks.kernels.step_clock import StepClock
from benchmarks.report.markdown import markdown_table
from engine.load import load_engine
from engine.machine.machine import Machine
from engine.request import Request
from jobs.records.sampling import SamplingParams
from jobs.settings import Settings
from model.layer_weights import ExpertWeights
from model.ops.linear import linear
from model.qwen3 import Qwen3ForCausalLM
from worker.engine_options import engine_config

PROMPT, OUTPUT = 200, 60  # new tokens per request, so that steps have 230 tokens of context on average
PASSES = 7  # timed runs of products and of attention alone, over all layers

PRODUCTS, ATTENTION = "products of the layers, by themselves", "attention, by itself"


@dataclass(frozen=True)
class StepTimes:
    """Median milliseconds of each part."""

    parts: dict[str, float]  # parts of a step, which add up to the whole step
    alone: dict[str, float]  # parts of the layers


def measure(options: argparse.Namespace) -> StepTimes:
    """Time an engine's steps, and the layers' parts alone."""
    config = replace(engine_config(Settings(quantize=options.quantize)), threads=options.threads)
    loaded = load_engine(options.model, config, log=lambda line: print(line, file=sys.stderr))
    settings = SamplingParams(max_tokens=OUTPUT, temperature=0, ignore_eos=True)
    prompts = torch.randint(loaded.tokenizer.vocab_size, (options.sequences, PROMPT)).tolist()
    clock = StepClock(options.sequences)
    for run in range(2):  # the first one touches all memory
        with clock.installed() if run else ExitStack():
            tickets = loaded.engine.submit_many([Request(tuple(prompt), settings) for prompt in prompts])
            for ticket in tickets:
                ticket.future.result()
    loaded.engine.shutdown()
    parts = {part: statistics.median(values) for part, values in clock.parts.items()}
    alone = {
        PRODUCTS: _median_ms(lambda: _multiply(clock.model, options.sequences)),
        ATTENTION: _median_ms(CachedLayers(options.sequences, PROMPT + OUTPUT // 2, _heads(clock.model)).attend),
    }
    return StepTimes(parts, alone)


def _heads(model: Qwen3ForCausalLM) -> Heads:
    config = model.config
    return Heads(config.num_heads, config.num_kv_heads, config.head_dim, config.num_layers)


def _multiply(model: Qwen3ForCausalLM, rows: int) -> None:
    """Run the products of every layer: all four, or those of the experts that random rows get."""
    shape, dtype = model.weights.layers[0].shape, model.dtype
    heads = shape.num_heads + 2 * shape.num_kv_heads
    hidden = torch.randn(rows, shape.hidden_size).to(dtype)
    attended = torch.randn(rows, shape.num_heads * shape.head_dim).to(dtype)
    gated = torch.randn(rows, shape.intermediate_size).to(dtype)
    for layer in model.weights.layers:
        linear(hidden, layer.qkv, heads * shape.head_dim)
        linear(attended, layer.o, shape.hidden_size)
        if isinstance(layer.mlp, ExpertWeights):
            torch.ops.qwen_batch.experts(
                hidden, *layer.mlp, shape.intermediate_size, shape.experts_per_token, shape.normalise_experts
            )
            continue
        linear(hidden, layer.mlp.gate_up, 2 * shape.intermediate_size)
        linear(gated, layer.mlp.down, shape.hidden_size)


def _median_ms(work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(PASSES):
        started_at = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started_at)
    return statistics.median(seconds) * 1000


def report(times: StepTimes) -> str:
    """Return a table of the parts and their shares. Parts of the layers may overlap, so they have no share."""
    whole = sum(times.parts.values())
    rows = [[part, f"{ms:.2f}", f"{ms / whole:.1%}"] for part, ms in times.parts.items()]
    alone = [[part, f"{ms:.2f}", ""] for part, ms in times.alone.items()]
    return markdown_table(["part of a step", "ms", "share"], [*rows, ["all", f"{whole:.2f}", ""], *alone])


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--quantize", default="none")
    parser.add_argument("--threads", type=int, default=Machine.inspect().cores, help="(default: physical cores)")
    parser.add_argument("--output", type=Path, help="folder that gets step.png")
    options = parser.parse_args()
    with torch.inference_mode():
        times = measure(options)
    print(report(times))
    if options.output is not None:
        from benchmarks.report.step_plot import draw_step

        options.output.mkdir(parents=True, exist_ok=True)
        draw_step(times.parts, times.alone, options.sequences, options.output / "step.png")


if __name__ == "__main__":
    main()
