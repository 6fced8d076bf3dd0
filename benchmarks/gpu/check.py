"""Check that results on a CUDA GPU are right, and measure its speed. Run this first on a machine with a GPU.

    python -m benchmarks.gpu.check [--model FOLDER] [--only checks|speeds]

The checks compare every Triton operator with exact attention. They also compare the whole model in float32 with the
CPU: logits, texts and the number of waits. Three speeds follow: table 2.1 of the book, a single stream beside the limit
of the GPU's memory, and nano-vllm's batch. This batch has 256 requests and 133,966 tokens out. Without --model the
program writes a model of Qwen3-0.6B's shape with random weights.

Exits with 1 if a check fails, and with 2 if there is no GPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.gpu.finding import Finding
from benchmarks.gpu.model_checks import check_model
from benchmarks.gpu.operator_checks import check_operators
from benchmarks.gpu.speeds import Workload, limit, measure, measure_card
from benchmarks.random_model import DEMO, write_random_model
from cli.offline.chapter_table import measure_modes
from cli.offline.local_model import load_local_model
from cli.offline.roofline import ModelCost
from engine.config import EngineConfig
from engine.execution.kernels import load_kernels_for
from engine.load import load_engine
from jobs.stats.figures import percent, rate
from model.checkpoint.config import ModelConfig
from model.checkpoint.hub import resolve_model

DEFAULT_MODEL = Path("build/gpu-check/qwen3-0.6b")
CONFIG = EngineConfig(device="cuda", max_model_len=4096)
CHAPTER_TOKENS, CHAPTER_RUNS = 200, 3
WARM_UP_REQUESTS = 16


def run_checks(folder: Path, device: torch.device) -> Iterator[Finding]:
    """Run all checks."""
    load_kernels_for("cuda:0", print)
    yield from check_operators(device)
    yield from check_model(folder, CONFIG, device)


def report_checks(findings: Iterator[Finding], console: Console) -> bool:
    """Print the findings. Returns True if all checks passed."""
    table = Table(title="Checks")
    for name in ("what", "found", "allowed", ""):
        table.add_column(name, justify="left" if name == "what" else "right")
    all_ok = True
    for finding in findings:
        all_ok &= finding.ok
        verdict = "ok" if finding.ok else "WRONG"
        table.add_row(finding.name, f"{finding.figure:.2g}", f"{finding.allowed:.2g}", verdict)
    console.print(table)
    return all_ok


def report_chapter(folder: Path, console: Console) -> None:
    """Print table 2.1 of the book."""
    local = load_local_model(resolve_model(str(folder)), CONFIG, print)
    prompt = local.tokenizer.encode("Explain large language models in a single sentence.")
    table = Table("mode", "tokens/s", "warm-up, s", title="Table 2.1")
    for row in measure_modes(local, prompt, CHAPTER_TOKENS, CHAPTER_RUNS, print):
        table.add_row(row.mode, rate(row.tokens_per_second), rate(row.warm_up_seconds))
    console.print(table)


def report_engine(folder: Path, device: torch.device, console: Console) -> None:
    """Print the speeds of one stream and of a batch, with the GPU's limits."""
    card, cost = measure_card(device), ModelCost.of_model(ModelConfig.from_folder(folder), screened=False)
    loaded = load_engine(folder, CONFIG, log=print)
    gigabytes, tflop = card.read_bytes_per_second / 1e9, card.flop_per_second / 1e12
    title = f"{torch.cuda.get_device_name(device)} · {gigabytes:,.0f} GB/s, {tflop:,.0f} TFLOP/s"
    table = Table("output tokens/s", "reached", "limit", "share", title=title)
    try:
        measure(loaded, Workload.nano_vllm(WARM_UP_REQUESTS).within(loaded.tokenizer.vocab_size))
        for name, workload in (
            ("one stream", Workload.lone_stream()),
            ("nano-vllm's batch", Workload.nano_vllm().within(loaded.tokenizer.vocab_size)),
        ):
            reached, bound = measure(loaded, workload), limit(workload, cost, card)
            table.add_row(name, rate(reached), rate(bound), percent(reached / bound))
    finally:
        loaded.engine.shutdown()
    console.print(table)
    print(f"{loaded.device}: loaded in {loaded.load_seconds:.1f} s, compiled in {loaded.compile_seconds:.1f} s")


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a checkpoint with its tokenizer")
    parser.add_argument("--only", choices=["checks", "speeds"])
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no CUDA card that PyTorch can use on this machine.", file=sys.stderr)
        sys.exit(2)
    device, console = torch.device("cuda:0"), Console()
    folder = options.model or DEFAULT_MODEL
    if options.model is None and not folder.exists():
        write_random_model(folder, "0.6b", DEMO)
    if options.only != "speeds" and not report_checks(run_checks(folder, device), console):
        sys.exit(1)
    if options.only != "checks":
        report_chapter(folder, console)
        report_engine(folder, device, console)


if __name__ == "__main__":
    main()
