"""Measure qwen-batch and its peers on this machine. Write the results as JSON, and a page with tables and pictures.

    python -m benchmarks.peers                      everything, with a random 0.6B model
    python -m benchmarks.peers --systems run,transformers --measure batch
    python -m benchmarks.peers --measure records    64 completions that a JSON schema of 12 fields constrains
    python -m benchmarks.peers --add --repeat 1     one more round of a series, interrupted or not
    python -m benchmarks.peers --report-only        the page and pictures anew from the JSON file

Each peer is installed into an environment of its own on first use. Quote figures of a quiet machine only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from benchmarks.peers.lesser_processors import LESSER_PROCESSORS
from benchmarks.peers.series.machine_facts import measured_again
from benchmarks.peers.series.results import ModelFacts, Results
from benchmarks.peers.series.rounds import Rounds
from benchmarks.peers.series.series import Setting
from benchmarks.peers.systems import EVERYTHING, SYSTEMS, Measure
from benchmarks.peers.tasks.plan import Plan
from benchmarks.random_model import write_random_model
from benchmarks.report.tables import page
from cli.offline.roofline import ModelCost
from engine.machine.machine import Machine
from model.checkpoint.config import ModelConfig
from model.text.tokenizer import Tokenizer

BUILD = Path(__file__).resolve().parents[2] / "build"
RESULTS = "results.json"
DEMO = Path(__file__).resolve().parents[2] / "model" / "demo"


def main() -> None:
    """Measure, save the results after every measurement, and write the report."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    if not options.report_only:
        _measure(options)
    results = Results.load(options.output / RESULTS)
    _report(results, options.output)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a Qwen3 model in bfloat16 (default: random, 0.6B)")
    parser.add_argument("--output", type=Path, default=BUILD / "bench-peers", help="gets the page and all it shows")
    parser.add_argument("--environments", type=Path, default=BUILD / "peers", help="folder of the peers' installations")
    parser.add_argument("--add", action="store_true", help="measure more of the series in the output folder")
    parser.add_argument("--report-only", action="store_true", help="measure nothing")
    by_default = [system.key for system in SYSTEMS.values() if system.by_default]
    parser.add_argument("--systems", type=_names(list(SYSTEMS)), default=by_default, help=f"of {', '.join(SYSTEMS)}")
    parser.add_argument(
        "--measure",
        type=_names(list(get_args(Measure))),
        default=EVERYTHING,
        help=f"of {', '.join(get_args(Measure))} (default: all but records)",
    )
    parser.add_argument("--repeat", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--threads", type=int, default=Machine.inspect().cores, help="(default: physical cores)")
    parser.add_argument(
        "--as-processor", choices=LESSER_PROCESSORS, help="hold every system to the instructions of a lesser processor"
    )
    parser.add_argument("--requests", type=int, default=64, help="of the batch (default: 64)")
    parser.add_argument("--seeds", type=_numbers, default=(1, 2), help="of further batches (default: 1,2)")
    parser.add_argument("--large", type=int, default=256, help="requests of the large batch (default: 256)")
    parser.add_argument("--shared-requests", type=int, default=128, help="with prompts that begin alike")
    parser.add_argument("--lines", type=_numbers, default=(1, 2, 4, 8, 16, 32, 128), help="of the first curve")
    parser.add_argument("--batch-sizes", type=_numbers, default=(1, 2, 4, 8, 16, 32, 64), help="of the second curve")
    return parser.parse_args()


def _measure(options: argparse.Namespace) -> None:
    lesser = LESSER_PROCESSORS.get(options.as_processor)
    os.environ.update(lesser.variables if lesser else {})  # libraries read these variables when they first multiply
    model = options.model or _random_model(BUILD / "models" / "qwen3-0.6b-random")
    config, vocab_size = ModelConfig.from_folder(model), Tokenizer.from_folder(model).vocab_size
    if vocab_size < 0.99 * config.vocab_size:
        raise SystemExit(
            f"{model}: its tokenizer has {vocab_size:,} tokens, its output layer {config.vocab_size:,}. Our engine "
            "leaves out what no token needs, so the comparison would flatter it. Take a model with its own tokenizer."
        )
    print("Measuring memory and matrix products …", file=sys.stderr, flush=True)
    facts = ModelFacts(name=model.name, cost=ModelCost.of_model(config))
    setting = Setting(facts, options.threads, options.requests, options.as_processor)
    path = options.output / RESULTS
    results = setting.series_to_go_on(path) if options.add else setting.new_series()
    plan = Plan(
        measures=tuple(options.measure),
        repeat=options.repeat,
        requests=options.requests,
        other_seeds=options.seeds,
        large_requests=options.large,
        lines=options.lines,
        batch_sizes=options.batch_sizes,
        shared_requests=options.shared_requests,
    )
    logs = options.environments / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    rounds = Rounds(
        plan,
        model.resolve(),
        min(vocab_size, 150_000),
        options.threads,
        options.environments.resolve(),
        logs.resolve(),
        lesser,
    )
    done = results.rounds_done()
    results.failures = {key: why for key, why in results.failures.items() if key not in options.systems}
    for measurement in rounds.run([SYSTEMS[key] for key in options.systems], results.failures, done):
        results.measurements.append(measurement)
        results.save(path)
    results.machine = measured_again(results.machine)
    results.save(path)


def _report(results: Results, folder: Path) -> None:
    plots: list[str] = []
    if find_spec("matplotlib"):
        from benchmarks.report.plots import draw

        plots = draw(results, folder)
    else:
        print("No pictures: matplotlib is missing (pip install '.[bench]').", file=sys.stderr)
    text = page(results, plots)
    (folder / "peers.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"The page, {RESULTS} and {len(plots)} pictures are in {folder}.", file=sys.stderr)


def _random_model(folder: Path) -> Path:
    if not folder.exists():
        print(f"Writing a random model to {folder} …", file=sys.stderr)
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)  # left by an interrupted run
        write_random_model(part, "0.6b", DEMO)
        part.rename(folder)
    return folder


def _names(known: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(known)}")
        return names

    return parse


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main()
