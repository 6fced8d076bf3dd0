"""Measure a lone stream with guesses of next tokens and without, in turn: one that copies, and one of prose.

    python -m benchmarks.latency.guesses --model FOLDER [--tokens 128] [--rounds 3] [--quantize int8] [--streams 1]
    python -m benchmarks.latency.guesses --model FOLDER --count 0.08

With `--count`, no model runs: the gain follows from the numbers of steps and rows, and from the cost of a row. A row's
cost is a multiple of the time of a step without rows (`engine.speculation.drafting`).

The weights may be random, so the texts are given. Each step computes as usual. The given token then takes the place of
the chosen one. The stream that copies repeats its prompt, with one word in twenty changed. The prose is a page of this
project's documents, and its prompt is another page. Both texts need a tokenizer of natural language.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.report.markdown import markdown_table
from engine.config import PAGE_SIZE, EngineConfig
from engine.engine import Engine
from engine.execution.model_runner import ModelRunner
from engine.load import LoadedEngine, load_engine
from engine.request import Request
from engine.scheduling.batch import Batch
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.scheduler import Scheduler
from jobs.records.sampling import SamplingParams
from model.text.tokenizer import Tokenizer

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("security.md", "architecture.md", "operations.md")  # the prompt is the first one
PROMPT_TOKENS = 400
CHANGED_WORDS = 20  # every so many words, one is changed
CACHE_BYTES = 2 * 2**30

Script = tuple[tuple[int, ...], tuple[int, ...]]  # prompt and completion


class CountingRunner:
    """Takes the tokens of a script instead of running a model, and counts steps and rows."""

    def __init__(self, script: Script) -> None:
        self._completion = script[1]
        self.num_steps = self.num_rows = 0

    def run(self, batch: Batch) -> list[int]:
        """Return the script's tokens (see `engine.requests.ports.Runner`)."""
        self.num_steps += batch.num_decodes > 0
        self.num_rows += batch.num_decode_rows
        rows = batch.sampled_rows()
        return [self._completion[batch.sequences[index].num_generated + drafted] for index, drafted in rows]


def cost_of(tokenizer: Tokenizer, script: Script, streams: int, row_cost: float, *, guesses: bool) -> float:
    """Return the time of all decode steps, as a multiple of the time of a step without rows."""
    runner = CountingRunner(script)
    cost = row_cost if guesses else None
    scheduler = Scheduler(PageAllocator(4096, PAGE_SIZE), SchedulingPolicy(64, 8192), row_cost=cost)
    engine = Engine(scheduler=scheduler, runner=runner, detokenizer=tokenizer, eos_token_ids=(), max_model_len=8192)
    engine.start()
    params = SamplingParams(max_tokens=len(script[1]), temperature=0, ignore_eos=True)
    for ticket in engine.submit_many([Request(script[0], params)] * streams):
        ticket.future.result()
    engine.shutdown()
    return runner.num_steps + row_cost * runner.num_rows


def count(options: argparse.Namespace) -> None:
    """Print the gain that the numbers of steps and rows give."""
    tokenizer = Tokenizer.from_folder(options.model)
    for name, script in scripts_of(tokenizer, options.tokens).items():
        without, with_guesses = (
            cost_of(tokenizer, script, options.streams, options.count, guesses=guesses) for guesses in (False, True)
        )
        print(f"{name}: {without / with_guesses:.2f} times as fast, if a row costs {options.count:.0%} of a step")


def scripts_of(tokenizer: Tokenizer, num_tokens: int) -> dict[str, Script]:
    """Return prompts with their completions."""
    page, *others = ((DOCS / name).read_text(encoding="utf-8") for name in PAGES)
    words = page.split(" ")
    words[::CHANGED_WORDS] = ["changed"] * len(words[::CHANGED_WORDS])
    prompt = tuple(tokenizer.encode(page)[:PROMPT_TOKENS])
    return {
        "copies": (prompt, tuple(tokenizer.encode(" ".join(words))[:num_tokens])),
        **{
            f"prose, {name}": (prompt, tuple(tokenizer.encode(other)[:num_tokens]))
            for name, other in zip(PAGES[1:], others, strict=True)
        },
    }


def following(script: Script) -> Callable[..., Any]:
    """Return a replacement for `ModelRunner.run` that takes the tokens of a completion."""
    run = ModelRunner.run

    def scripted(runner: ModelRunner, batch: Any) -> list[int]:  # noqa: ANN401 - whatever `run` takes
        run(runner, batch)
        rows = batch.sampled_rows()
        return [script[1][batch.sequences[index].num_generated + drafted] for index, drafted in rows]

    return scripted


def seconds_of(loaded: LoadedEngine, script: Script, streams: int) -> tuple[float, float]:
    """Run streams with the same script. Return the seconds from first token to last, and the share of right guesses."""
    params = SamplingParams(max_tokens=len(script[1]), temperature=0, ignore_eos=True)
    with mock.patch.object(ModelRunner, "run", following(script)):
        tickets = loaded.engine.submit_many([Request(script[0], params)] * streams)
        outputs = [ticket.future.result() for ticket in tickets]
    stats = loaded.engine.take_group_stats("")
    assert all(output.token_ids == script[1] for output in outputs), "a completion has other tokens"
    seconds = max(output.finished_at for output in outputs) - min(output.first_token_at for output in outputs)
    return seconds, stats.accepted_tokens / max(stats.drafted_tokens, 1)


def measure(options: argparse.Namespace) -> None:
    """Run the rounds and print the table."""

    def load(*, speculate: bool) -> LoadedEngine:
        settings = {"threads": options.threads, "quantize": options.quantize, "kv_cache_memory_bytes": CACHE_BYTES}
        return load_engine(options.model, EngineConfig(speculate=speculate, **settings), log=lambda _: None)

    plain, guessing = load(speculate=False), load(speculate=True)
    rows, ratios = [], {}
    for name, script in scripts_of(plain.tokenizer, options.tokens).items():
        found = []
        for _ in range(options.rounds):
            without, _ = seconds_of(plain, script, options.streams)
            with_guesses, right = seconds_of(guessing, script, options.streams)
            found.append(without / with_guesses)
            rows.append([name, f"{without:.2f} s", f"{with_guesses:.2f} s", f"{found[-1]:.2f}", f"{right:.0%}"])
        ratios[name] = statistics.median(found)
    plain.engine.shutdown()
    guessing.engine.shutdown()
    print(markdown_table(["text", "without guesses", "with guesses", "times as fast", "guesses right"], rows))
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f} times as fast (median)")
    print(f"{time.strftime('%F')}, {options.streams} streams, {options.tokens} tokens, {options.quantize}")


def main() -> None:
    """Measure the gain of guesses, or with `--count` compute it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--quantize", default="none")
    parser.add_argument("--count", type=float, metavar="ROW_COST", help="count steps and rows, and run no model")
    options = parser.parse_args()
    if options.count is not None:
        count(options)
    else:
        measure(options)


if __name__ == "__main__":
    main()
