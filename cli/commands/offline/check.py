"""`qwen-batch check`"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.console.console import Console
from cli.options.constraint_options import constraint_options
from cli.options.line_options import line_options
from cli.options.options import (
    WholeNumber,
    console_options,
    json_option,
    model_option,
    prompts_argument,
    settings_with,
    skip_invalid_option,
)
from cli.options.reading_options import reading_options
from cli.options.target_model import TargetModel, say_notices, target_model, with_model_of_lines
from jobs.files.prompt_file import CheckedFile, PromptFile
from jobs.files.reading.row_reader import ReadingOptions
from jobs.harmless import harmless
from jobs.records.line_defaults import LineDefaults
from jobs.records.model_card import ModelCard, builtin_demo_folder
from jobs.records.prompt import Prompt
from jobs.settings import Settings
from jobs.submission.checking import check_file, notices_of
from jobs.submission.submit_options import LineOptions, SubmitOptions

if TYPE_CHECKING:
    from cli.offline.prompt_tokens import PromptTokens


@click.command(name="check")
@prompts_argument
@reading_options
@model_option
@skip_invalid_option
@line_options
@constraint_options
@click.option(
    "--show",
    type=WholeNumber(0),
    default=0,
    metavar="N",
    help="Print the first N prompts as the model will see them, with special tokens.",
)
@json_option
@console_options
def command(
    console: Console,
    *,
    prompts: tuple[str, ...],
    reading: ReadingOptions,
    model: str | None,
    skip_invalid: bool,
    lines: LineOptions,
    line_defaults: LineDefaults,
    show: int,
    as_json: bool,
) -> None:
    """Check a file of prompts, without running them.

    A file that passes can be submitted. The command needs no server and no
    weights. If the model's folder is on this machine, the command also counts the
    prompts' tokens.

    \b
    Exit codes: 0 the file can be submitted, 2 it cannot.

    \b
    Examples:
      qwen-batch check prompts.jsonl
      qwen-batch check reviews.csv --template '{{ text }}' --show 3
      qwen-batch check prompts.jsonl --model ./Qwen3-0.6B --json
    """
    settings = settings_with(model=model)
    with PromptFile.open(prompts, sys.stdin.buffer, reading) as file:
        settings = with_model_of_lines(settings, model, file, tuple)
        target = target_model(settings, console)
        options = SubmitOptions(
            target.name, skip_invalid=skip_invalid, card=target.card, lines=lines, line_defaults=line_defaults
        )
        checked = check_file(file, options)
        say_notices(checked.report, target.name, console)
        tokenizer = _tokenizer(settings, target.card)
        report = _report(file, checked, target, tokenizer)
        shown = [_shown(tokenizer, prompt) for prompt in islice(checked.prompts(), show)]
    if as_json:
        console.json(report | ({"prompts": shown} if show else {}))
    else:
        _print(console, report, shown)


def _report(
    file: PromptFile, checked: CheckedFile, target: TargetModel, tokenizer: PromptTokens | None
) -> dict[str, Any]:
    """Return what --json prints about a file that passed, without its first prompts."""
    report = {
        "file": checked.report.name,
        "container": ", ".join(file.containers),
        "format": checked.report.format,
        "lines": checked.report.num_lines,
        "invalid_lines": checked.report.bad_lines.count,
        "columns": file.columns(),
        "notices": notices_of(checked.report, target.name),
        "model": target.name,
        "prompt_tokens": _counts(tokenizer, checked, target.card),
    }
    return report | ({"files": file.names} if len(file.names) > 1 else {})


def _print(console: Console, report: dict[str, Any], shown: list[dict[str, str]]) -> None:
    """Print a report and the first prompts for a person."""
    for line in _described(report):
        console.data(harmless(line))
    for each in shown:
        console.data(f"\n--- {harmless(each['id'])} ---")
        console.data("\n".join(harmless(line) for line in each["prompt"].split("\n")))


def _tokenizer(settings: Settings, card: ModelCard | None) -> PromptTokens | None:
    """Return the model's tokenizer, or None if its folder or the worker's packages are not on this machine."""
    if card is None or any(importlib.util.find_spec(name) is None for name in ("tokenizers", "torch")):
        return None
    from cli.offline.prompt_tokens import PromptTokens

    return PromptTokens(builtin_demo_folder() if settings.model == "demo" else Path(settings.model).expanduser())


def _counts(tokenizer: PromptTokens | None, checked: CheckedFile, card: ModelCard | None) -> dict[str, int] | None:
    if tokenizer is None or card is None:
        return None
    return asdict(tokenizer.count(checked.prompts(), card.max_model_len))


def _shown(tokenizer: PromptTokens | None, prompt: Prompt) -> dict[str, str]:
    if prompt.invalid is not None:
        return {"id": prompt.id, "prompt": prompt.invalid}
    if tokenizer is not None:
        return {"id": prompt.id, "prompt": tokenizer.shown(prompt)}
    texts = [f"{message['role']}: {message['content']}" for message in prompt.messages or ()]
    return {"id": prompt.id, "prompt": "\n".join(texts) or prompt.text or f"token ids {list(prompt.token_ids or ())}"}


def _described(report: dict[str, Any]) -> list[str]:
    lines = [
        f"{report['file']}: {report['lines']:,} lines, container {report['container']}, format {report['format']}",
        f"columns: {', '.join(report['columns'])}",
        f"model: {report['model']}",
    ]
    if report["invalid_lines"]:
        lines.append(f"invalid lines: {report['invalid_lines']:,}")
    counts = report["prompt_tokens"]
    if counts is None:
        return [*lines, "prompt tokens: unknown, because the model's tokenizer is not on this machine"]
    lines.append(
        f"prompt tokens: {counts['total']:,} in all, median {counts['median']:,}, longest {counts['longest']:,}"
    )
    if counts["shared"]:
        share = counts["shared"] / counts["total"]
        lines.append(f"common beginnings: {counts['shared']:,} of these tokens ({share:.0%}) are computed only once")
    if counts["too_long"]:
        lines.append(f"prompts that do not fit in the context: {counts['too_long']:,}")
    if counts["failed"]:
        lines.append(f"prompts that cannot be encoded: {counts['failed']:,}")
    return lines
