"""Trains the demo model: `.venv/bin/python -m tools.train_demo_model` (half an hour on two idle cores).

Data, seed and steps are fixed. Another machine rounds differently, so the weights differ, but not their quality.
`--polish-only` repeats the second, shorter training from the existing checkpoint. `--evaluate-only` only measures this
checkpoint.

`--second-lesson` trains the checkpoint in --output further: on JSON, short thoughts and calls of two tools. The stored
model has not had this lesson (see SECOND_LESSON).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer

from tools.demo_model.checkpoint import load_checkpoint, save_checkpoint
from tools.demo_model.data.held_out import held_out_prompts, held_out_tool_prompts
from tools.demo_model.learning.evaluation import accuracy_by_task, evaluate
from tools.demo_model.learning.network import TrainingQwen3
from tools.demo_model.learning.training import FIRST_LESSON, POLISH, SECOND_LESSON, TrainingPlan, new_network, train
from tools.demo_model.tasks.registry import WRAPPED_TASKS
from tools.demo_model.tokenizer import build_tokenizer

_DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / "model" / "demo"
_PROMPTS = 3000
_SECOND_LESSON_PROMPTS = 1000


def _train(folder: Path, plan: TrainingPlan) -> None:
    tokenizer = build_tokenizer()
    _run(new_network(tokenizer, plan), tokenizer, plan, folder)


def _continue(folder: Path, plan: TrainingPlan) -> None:
    """Run a later training. It begins with the stored, rounded checkpoint of the one before."""
    network, tokenizer = load_checkpoint(folder)
    _run(network, tokenizer, plan, folder)


def _run(network: TrainingQwen3, tokenizer: Tokenizer, plan: TrainingPlan, folder: Path) -> None:
    def report(line: str, network: TrainingQwen3) -> None:
        print(line, flush=True)
        save_checkpoint(network, tokenizer, folder)

    report("done", train(network, tokenizer, plan, report))


def _print_accuracy(folder: Path, has_second_lesson: bool) -> None:
    network, tokenizer = load_checkpoint(folder)
    prompts = held_out_prompts(_PROMPTS)
    if has_second_lesson:
        prompts += held_out_prompts(_SECOND_LESSON_PROMPTS, tasks=WRAPPED_TASKS)
        prompts += held_out_tool_prompts(_SECOND_LESSON_PROMPTS)
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
    parser.add_argument("--steps", type=int, default=FIRST_LESSON.steps, help="steps of the first training")
    parser.add_argument("--polish-only", action="store_true", help="train the checkpoint in --output further")
    parser.add_argument(
        "--second-lesson", action="store_true", help="give the checkpoint in --output the second lesson"
    )
    parser.add_argument("--evaluate-only", action="store_true", help="measure the checkpoint in --output")
    arguments = parser.parse_args()
    continues = arguments.evaluate_only or arguments.second_lesson
    if not (continues or arguments.polish_only):
        _train(arguments.output, replace(FIRST_LESSON, steps=arguments.steps))
    if not continues:
        _continue(arguments.output, POLISH)
    if arguments.second_lesson and not arguments.evaluate_only:
        _continue(arguments.output, SECOND_LESSON)
    _print_accuracy(arguments.output, arguments.second_lesson)


if __name__ == "__main__":
    main()
