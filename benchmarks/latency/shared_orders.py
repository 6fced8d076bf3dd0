"""Measure one prompt given many times against its decode alone, and two jobs in turns against one after the other.

    python -m benchmarks.latency.shared_orders --model FOLDER [--copies 32] [--lines 32] [--rounds 3] [--seed 0]

*Copies*: one prompt of 1,000 tokens with many seeds, first with an empty cache and then again. The second time the
prompt's keys and values are in the cache, so little but the decode is left.

*In turns*: two jobs, each with 600 tokens that its prompts begin with. Their lines alternate, or one job follows the
other. The batch has room for half of a job's lines, so that both orders fill it.

Prompts are drawn anew for each run, so that the cache knows none of them. Guesses of next tokens are off, because
random weights repeat themselves.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from benchmarks.report.markdown import markdown_table
from engine.config import EngineConfig
from engine.engine import Engine
from engine.load import load_engine
from engine.request import Request
from jobs.records.sampling import SamplingParams

COPIED_TOKENS = 1000
SHARED_TOKENS = 600
VOCAB = 100_000  # token ids are below this number


def seconds_of(engine: Engine, *groups: Sequence[Request]) -> float:
    """Run groups of requests, one group after the other. Return the seconds of all."""
    started_at = time.monotonic()
    for requests in groups:
        for ticket in engine.submit_many(requests):
            ticket.future.result()
    return time.monotonic() - started_at


def copies(engine: Engine, options: argparse.Namespace, draw: random.Random) -> tuple[float, float]:
    """Return the seconds of copies of a prompt with an empty cache, and again."""
    prompt = tuple(draw.randrange(VOCAB) for _ in range(COPIED_TOKENS))
    requests = [
        Request(prompt, SamplingParams(max_tokens=options.tokens, seed=seed, ignore_eos=True))
        for seed in range(options.copies)
    ]
    return seconds_of(engine, requests), seconds_of(engine, requests)


def in_turns(engine: Engine, options: argparse.Namespace, draw: random.Random) -> tuple[float, float]:
    """Return the seconds of two jobs in turns, and of the same work with one job after the other."""
    lengths = [(draw.randint(20, 80), draw.randint(8, 24)) for _ in range(options.lines)]

    def job(flow: str) -> list[Request]:
        shared = tuple(draw.randrange(VOCAB) for _ in range(SHARED_TOKENS))
        return [
            Request(
                token_ids=(*shared, *(draw.randrange(VOCAB) for _ in range(own))),
                params=SamplingParams(max_tokens=new, temperature=0, ignore_eos=True),
                flow=flow,
            )
            for own, new in lengths
        ]

    alternating = list(chain.from_iterable(zip(job("a"), job("b"), strict=True)))
    return seconds_of(engine, alternating), seconds_of(engine, job("a"), job("b"))


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128, help="new tokens per copy")
    parser.add_argument("--lines", type=int, default=32, help="per job")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--quantize", default="none")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    settings = {"speculate": False, "threads": options.threads, "quantize": options.quantize}
    measured = {
        "copies, against the decode alone": (copies, options.copies),
        "jobs in turns, against one after the other": (in_turns, options.lines // 2),
    }
    rows, medians = [], []
    for name, (measure, batch) in measured.items():
        engine = load_engine(options.model, EngineConfig(max_num_seqs=batch, **settings), log=lambda _: None).engine
        found = [measure(engine, options, draw) for _ in range(options.rounds)]
        engine.shutdown()
        rows += [[name, f"{ours:.1f} s", f"{other:.1f} s", f"{ours / other:.3f}"] for ours, other in found]
        medians.append(f"{name}: {statistics.median(ours / other for ours, other in found):.3f} of the time (median)")
    print(markdown_table(["work", "seconds", "against", "of its time"], rows))
    print("\n".join(medians))


if __name__ == "__main__":
    main()
