"""Trains the demo model: `.venv/bin/python -m tools.train_demo_model` (half an hour on two idle cores).

Data, seed and steps are fixed. Another machine rounds differently, so the weights differ, but not their quality.
`--polish-only` repeats the second, shorter training from the existing checkpoint. `--evaluate-only` only measures this
checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tokenizers import Tokenizer

from tools.demo_model.checkpoint import load_checkpoint, save_checkpoint
from tools.demo_model.evaluation import accuracy_by_task, evaluate
from tools.demo_model.held_out import held_out_prompts
from tools.demo_model.network import TrainingQwen3
from tools.demo_model.tokenizer import build_tokenizer
from tools.demo_model.training import POLISH, TrainingPlan, new_network, train

_DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / "model" / "demo"
_PROMPTS = 3000


def _train(folder: Path, plan: TrainingPlan) -> None:
    tokenizer = build_tokenizer()
    _run(new_network(tokenizer, plan), tokenizer, plan, folder)


def _polish(folder: Path) -> None:
    """Run the second training. It begins with the stored, rounded checkpoint of the first one."""
    network, tokenizer = load_checkpoint(folder)
    _run(network, tokenizer, POLISH, folder)


def _run(network: TrainingQwen3, tokenizer: Tokenizer, plan: TrainingPlan, folder: Path) -> None:
    def report(line: str, network: TrainingQwen3) -> None:
        print(line, flush=True)
        save_checkpoint(network, tokenizer, folder)

    report("done", train(network, tokenizer, plan, report))


def _print_accuracy(folder: Path) -> None:
    network, tokenizer = load_checkpoint(folder)
    prompts = held_out_prompts(_PROMPTS)
    for empty_thinking in (False, True):
        outcomes = evaluate(network, tokenizer, prompts, empty_thinking=empty_thinking)
        print(f"\n{len(prompts)} held-out prompts, chats {'with' if empty_thinking else 'without'} empty think block")
        for task, accuracy in accuracy_by_task(outcomes).items():
            print(f"  {task:16} {accuracy:7.2%}")
        for outcome in outcomes:
            if not outcome.is_exact:
                print(f"  missed: {outcome.prompt}")


def main() -> None:
    """Train, unless the options say otherwise, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=_DEFAULT_FOLDER, help="the checkpoint folder")
    parser.add_argument("--steps", type=int, default=TrainingPlan.steps, help="steps of the first training")
    parser.add_argument("--polish-only", action="store_true", help="train the checkpoint in --output further")
    parser.add_argument("--evaluate-only", action="store_true", help="measure the checkpoint in --output")
    arguments = parser.parse_args()
    if not (arguments.evaluate_only or arguments.polish_only):
        _train(arguments.output, TrainingPlan(steps=arguments.steps))
    if not arguments.evaluate_only:
        _polish(arguments.output)
    _print_accuracy(arguments.output)


if __name__ == "__main__":
    main()
