"""Trains the demo model: `.venv/bin/python -m tools.train_demo_model` (two hours on two idle cores).

Data, seed and steps are fixed. Another machine rounds differently, so the weights differ, but not their quality.
Three trainings follow each other: the first lesson, its polish, and the second lesson. `--begin-with` skips earlier
trainings and continues the checkpoint in --output. `--evaluate-only` only measures this checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tokenizers import Tokenizer

from tools.demo_model.checkpoint import load_checkpoint, save_checkpoint
from tools.demo_model.data.held_out import held_out_prompts
from tools.demo_model.data.held_out_tools import held_out_tool_chats
from tools.demo_model.learning.evaluation import accuracy_by_task, evaluate
from tools.demo_model.learning.network import TrainingQwen3
from tools.demo_model.learning.training import FIRST_LESSON, POLISH, SECOND_LESSON, TrainingPlan, new_network, train
from tools.demo_model.tasks.registry import WRAPPED_TASKS
from tools.demo_model.tokenizer import build_tokenizer

_DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / "model" / "demo"
_PROMPTS = 3000
_SECOND_LESSON_PROMPTS = 1000
_TRAININGS: dict[str, TrainingPlan] = {"first": FIRST_LESSON, "polish": POLISH, "second": SECOND_LESSON}


def _train(folder: Path, plan: TrainingPlan) -> None:
    """Run one training. A later one begins with the stored, rounded checkpoint of the one before."""
    if plan is FIRST_LESSON:
        tokenizer = build_tokenizer()
        _run(new_network(tokenizer, plan), tokenizer, plan, folder)
    else:
        network, tokenizer = load_checkpoint(folder)
        _run(network, tokenizer, plan, folder)


def _run(network: TrainingQwen3, tokenizer: Tokenizer, plan: TrainingPlan, folder: Path) -> None:
    def report(line: str, network: TrainingQwen3) -> None:
        print(line, flush=True)
        save_checkpoint(network, tokenizer, folder)

    report("done", train(network, tokenizer, plan, report))


def _print_accuracy(folder: Path) -> None:
    network, tokenizer = load_checkpoint(folder)
    prompts = held_out_prompts(_PROMPTS)
    prompts += held_out_prompts(_SECOND_LESSON_PROMPTS, tasks=WRAPPED_TASKS)
    prompts += [chat.as_prompt() for chat in held_out_tool_chats(_SECOND_LESSON_PROMPTS)]
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
    parser.add_argument("--begin-with", choices=list(_TRAININGS), default="first", help="the first training to run")
    parser.add_argument("--evaluate-only", action="store_true", help="measure the checkpoint in --output")
    arguments = parser.parse_args()
    if not arguments.evaluate_only:
        names = list(_TRAININGS)
        for name in names[names.index(arguments.begin_with) :]:
            _train(arguments.output, _TRAININGS[name])
    _print_accuracy(arguments.output)


if __name__ == "__main__":
    main()
