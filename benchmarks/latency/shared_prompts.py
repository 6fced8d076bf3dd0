"""Measure a job whose prompts begin alike, with the prefix cache and without it, in turn.

    python -m benchmarks.latency.shared_prompts --model FOLDER [--shared 600] [--requests 128] [--rounds 3] [--seed 0]
    python -m benchmarks.latency.shared_prompts --model FOLDER --shared 64,128,256,512 --picture FILE.png

Each prompt has the shared tokens, 20 to 80 tokens of its own, and 8 to 24 new tokens. The cache is empty when a round
begins. The completions of both runs must be equal. The last job has no shared tokens: the cache must not change its
time. Guesses of next tokens are off, because random weights repeat themselves.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.report.markdown import markdown_table
from engine.config import EngineConfig
from engine.load import load_engine
from engine.request import Request
from jobs.records.sampling import SamplingParams

CLOCKS = {"wall": time.monotonic, "processor": time.process_time}


class Pair(NamedTuple):
    """Seconds of one job."""

    without: float  # without the prefix cache
    cached: float


def requests_of(options: argparse.Namespace, num_shared: int, seed: int) -> list[Request]:
    """Return a job's requests. Every prompt has the same first `num_shared` tokens."""
    draw = random.Random(seed)
    shared = tuple(draw.randrange(options.vocab) for _ in range(num_shared))
    return [
        Request(
            token_ids=(*shared, *(draw.randrange(options.vocab) for _ in range(draw.randint(20, 80)))),
            params=SamplingParams(max_tokens=draw.randint(8, 24), temperature=0, ignore_eos=True),
            group="job",
        )
        for _ in range(options.requests)
    ]


def run(options: argparse.Namespace, requests: list[Request], *, caching: bool) -> tuple[float, int, list[object]]:
    """Run a job on a fresh engine. Return its seconds, its cached tokens and its completions."""
    config = EngineConfig(prefix_caching=caching, speculate=False, threads=options.threads, quantize=options.quantize)
    loaded = load_engine(options.model, config, log=lambda _: None)
    clock = CLOCKS[options.clock]
    started_at = clock()
    tickets = loaded.engine.submit_many(requests)
    completions: list[object] = [ticket.future.result().token_ids for ticket in tickets]
    seconds = clock() - started_at
    cached = loaded.engine.take_group_stats("job").cached_tokens
    loaded.engine.shutdown()
    return seconds, cached, completions


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--shared", type=_numbers, default=(600,), help="tokens that all prompts begin with")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: of all threads, for a busy machine")
    parser.add_argument("--picture", type=Path, help="file for a picture of the median times")
    parser.add_argument("--requests", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--vocab", type=int, default=100_000, help="token ids are below this number")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--quantize", default="none")
    options = parser.parse_args()
    rows = []
    pairs: dict[int, list[Pair]] = {num_shared: [] for num_shared in (*options.shared, 0)}
    for number in range(options.rounds):
        for num_shared, found in pairs.items():
            requests = requests_of(options, num_shared, options.seed + number)
            cold, _, expected = run(options, requests, caching=False)
            warm, cached, completions = run(options, requests, caching=True)
            assert completions == expected, "the prefix cache has changed a completion"
            found.append(Pair(cold, warm))
            share = cached / sum(len(request.token_ids) for request in requests)
            rows.append([str(num_shared), f"{cold:.1f} s", f"{warm:.1f} s", f"{cold / warm:.2f}", f"{share:.0%}"])
    print(markdown_table(["shared tokens", "without the cache", "with it", "times as fast", "found"], rows))
    for num_shared, found in pairs.items():
        ratio = statistics.median(pair.without / pair.cached for pair in found)
        print(f"{num_shared} shared tokens: {ratio:.2f} times as fast (median)")
    if options.picture is not None:
        from benchmarks.report.shared_plot import draw_shared  # needs matplotlib, which is not always installed

        medians = {length: Pair(*map(statistics.median, zip(*found, strict=True))) for length, found in pairs.items()}
        draw_shared(medians, f"A job of {options.requests} prompts, {options.clock} time", options.picture)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main()
