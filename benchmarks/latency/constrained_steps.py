"""Measure decode steps of 64 sequences with a schema against steps without, in turn.

    python -m benchmarks.latency.constrained_steps --model FOLDER [--tokens 32] [--rounds 3] [--sequences 64]

The schemas are those of a list of rated texts. *One schema* is the same for all sequences. *Own schemas* differ from
sequence to sequence. The completions are long enough that no sequence ends before the last step.

A step's time is the time between the first and the last token of all sequences, divided by the number of steps. The
processor time is that of the whole process, so it also has the prompts' first step. On a busy machine, only the ratios
of processor times say something.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from benchmarks.report.markdown import markdown_table
from engine.config import EngineConfig
from engine.load import LoadedEngine, load_engine
from engine.request import Request
from engine.stopping.output_constraint import Grammar
from jobs.constraints.grammar import grammar_of
from jobs.records.constraint import Constraint
from jobs.records.sampling import SamplingParams
from model.grammar import Grammars

CACHE_BYTES = 2 * 2**30
MAX_MODEL_LEN = 512
SAMPLING: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "top_k 20": {"temperature": 0.8, "top_k": 20},
}
WAYS = ("free", "one schema", "own schemas")


@dataclass(frozen=True)
class Step:
    """Mean times of the decode steps of one run, in ms."""

    wall: float
    processor: float


def schema(number: int) -> dict[str, Any]:
    """Return a schema for a long list of rated texts. Equal numbers give equal schemas."""
    rated = {
        "label": {"enum": ["good", "bad", f"x{number}"]},
        "reason": {"type": "string", "maxLength": 40 + number},
        "score": {"type": "integer", "minimum": 1, "maximum": 5 + number},
    }
    item = {"type": "object", "properties": rated, "required": list(rated), "additionalProperties": False}
    return {"type": "array", "minItems": 90, "items": item}


def measured(
    loaded: LoadedEngine, grammars: Sequence[Grammar | None], num_tokens: int, settings: dict[str, Any]
) -> Step:
    """Run one sequence per grammar, and return the mean times of a step."""
    requests = [
        Request(
            (100 + seed, 200, 300),
            SamplingParams(max_tokens=num_tokens, seed=seed, ignore_eos=grammar is None, **settings),
            grammar=grammar,
        )
        for seed, grammar in enumerate(grammars)
    ]
    processor = time.process_time()
    outputs = [ticket.future.result() for ticket in loaded.engine.submit_many(requests)]
    processor = time.process_time() - processor
    assert all(len(output.token_ids) == num_tokens for output in outputs), "a completion ended early"
    wall = max(output.finished_at for output in outputs) - max(output.first_token_at for output in outputs)
    return Step(wall / (num_tokens - 1) * 1e3, processor / num_tokens * 1e3)


def measure(options: argparse.Namespace) -> None:
    """Run the rounds and print the table."""
    config = EngineConfig(
        max_model_len=MAX_MODEL_LEN, kv_cache_memory_bytes=CACHE_BYTES, threads=options.threads, speculate=False
    )
    loaded = load_engine(options.model, config, log=lambda _: None)
    grammars = _grammars_by_way(loaded, options.sequences)
    found: dict[tuple[str, str], list[Step]] = {}
    measured(loaded, grammars["own schemas"], options.tokens, SAMPLING["greedy"])  # warm-up
    for _ in range(options.rounds):
        for name, settings in SAMPLING.items():
            for way in WAYS:
                found.setdefault((name, way), []).append(measured(loaded, grammars[way], options.tokens, settings))
    loaded.engine.shutdown()
    heads = ["sampling", "way", "ms per step, each round", "ratio", "processor ms", "ratio"]
    print(markdown_table(heads, _rows(found)))
    print(f"{time.strftime('%F')}, {options.sequences} sequences, {options.tokens} tokens, {loaded.device}")


def _grammars_by_way(loaded: LoadedEngine, num_sequences: int) -> dict[str, list[Grammar | None]]:
    """Return for each of `WAYS` one grammar per sequence."""
    grammars = Grammars(loaded.tokenizer, loaded.eos_token_ids)
    compiled = [
        grammars.compiled(grammar_of(Constraint("json", json.dumps(schema(number))))) for number in range(num_sequences)
    ]
    free, one_schema, own_schemas = WAYS
    return {
        free: list(repeat(None, num_sequences)),
        one_schema: list(repeat(compiled[0], num_sequences)),
        own_schemas: list(compiled),
    }


def _rows(found: dict[tuple[str, str], list[Step]]) -> list[list[str]]:
    """Return one row per case. A ratio is the median of the ratios of the rounds."""
    rows = []
    for (name, way), steps in found.items():
        pairs = list(zip(steps, found[name, "free"], strict=True))
        wall = statistics.median(step.wall / free.wall for step, free in pairs)
        processor = statistics.median(step.processor / free.processor for step, free in pairs)
        walls, processors = (
            ", ".join(f"{value:.1f}" for value in values)
            for values in ([step.wall for step in steps], [step.processor for step in steps])
        )
        rows.append([name, way, walls, f"{wall:.3f}", processors, f"{processor:.3f}"])
    return rows


def main() -> None:
    """Read the options, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--threads", type=int)
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
