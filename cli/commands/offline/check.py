"""`qwen-batch check`"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

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
from cli.options.target_model import TargetModel, local_folder, say_notices, target_model, with_model_of_lines
from jobs.files.prompt_file import CheckedFile, PromptFile
from jobs.files.reading.row_reader import ReadingOptions
from jobs.harmless import harmless
from jobs.records.line_defaults import LineDefaults
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.served_name import served_name
from jobs.settings import Settings
from jobs.submission.checking import check_file, notices_of
from jobs.submission.submit_options import LineOptions, SubmitOptions

if TYPE_CHECKING:
    from cli.offline.prompt_tokens import PromptTokens


TOKENS_OF_LINES = 100_000  # the tokenizer takes about 100 s for a million lines


def _lines_to_count(_ctx: click.Context, _param: click.Parameter, said: str) -> int:
    """Return the number of lines. For `all`, it is one that no file reaches."""
    if said == "all":
        return sys.maxsize
    if not (said.isascii() and said.isdecimal()):
        raise click.BadParameter(f"{said!r} is no number of lines; give a whole number of at least 0, or `all`.")
    return int(said)


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
    help="Print the first N prompts as the model will see them, with special tokens. "
    r"Text that only looks like a special token has a backslash: `<\|im_end|>`. --json has the exact text.",
)
@click.option(
    "--count-tokens",
    default=str(TOKENS_OF_LINES),
    show_default=True,
    metavar="N|all",
    callback=_lines_to_count,
    help="Count the tokens of the first N lines, or of all lines. 0 counts none.",
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
    count_tokens: int,
    as_json: bool,
) -> None:
    """Check a file of prompts, without running them.

    A file that passes can be submitted. The command needs no server and no
    weights. If the model's folder is on this machine, the command also counts the
    prompts' tokens: those of the first 100,000 lines, unless --count-tokens says
    otherwise.

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
        settings = _with_folder(with_model_of_lines(settings, model, file, tuple))
        target = target_model(settings, console)
        options = SubmitOptions(
            target.name, skip_invalid=skip_invalid, card=target.card, lines=lines, line_defaults=line_defaults
        )
        checked = check_file(file, options)
        say_notices(checked.report, target.name, console)
        tokenizer = _tokenizer(settings, target.card)
        counts = _counts(tokenizer, checked, target.card, count_tokens)
        report = _report(file, checked, target) | {"prompt_tokens": counts}
        shown = [_shown(tokenizer, prompt, as_json) for prompt in islice(checked.prompts(), show)]
    if as_json:
        console.json(report | ({"prompts": shown} if show else {}))
    else:
        _print(console, _described(report, tokenizer is not None), shown)


def _report(file: PromptFile, checked: CheckedFile, target: TargetModel) -> dict[str, Any]:
    """Return what --json prints about a file that passed, without its prompts and their tokens."""
    report = {
        "file": checked.report.name,
        "container": ", ".join(file.containers),
        "format": checked.report.format,
        "lines": checked.report.num_lines,
        "invalid_lines": checked.report.bad_lines.count,
        "columns": file.columns(),
        "notices": notices_of(checked.report, target.name),
        "model": target.name,
    }
    return report | ({"files": file.names} if len(file.names) > 1 else {})


def _print(console: Console, described: list[str], shown: list[dict[str, str]]) -> None:
    """Print the description of a file and its first prompts for a person."""
    for line in described:
        console.data(harmless(line))
    for each in shown:
        console.data(f"\n--- {harmless(each['id'])} ---")
        console.data("\n".join(harmless(line) for line in each["prompt"].split("\n")))


def _with_folder(settings: Settings) -> Settings:
    """Return the settings with the folder that stands for a GGUF file, if the model is one. Its name stays."""
    is_gguf = local_folder(settings.model) is None and Path(settings.model).expanduser().exists()
    if not is_gguf or not _has_worker_packages():
        return settings
    from cli.offline.prompt_tokens import folder_of_gguf

    name = settings.served_model_name or served_name(settings.model)
    return msgspec.structs.replace(settings, model=str(folder_of_gguf(settings.model)), served_model_name=name)


def _tokenizer(settings: Settings, card: ModelCard | None) -> PromptTokens | None:
    """Return the model's tokenizer, or None if its folder or the worker's packages are not on this machine."""
    folder = None if card is None else local_folder(settings.model)
    if folder is None or not _has_worker_packages():
        return None
    from cli.offline.prompt_tokens import PromptTokens

    return PromptTokens(folder)


def _has_worker_packages() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("tokenizers", "torch"))


def _counts(
    tokenizer: PromptTokens | None, checked: CheckedFile, card: ModelCard | None, max_lines: int
) -> dict[str, int] | None:
    """Return the token counts of the first lines, with the number of these lines. None if nothing is counted."""
    if tokenizer is None or card is None or max_lines == 0:
        return None
    counts = tokenizer.count(islice(checked.prompts(), max_lines), card.max_model_len)
    return {"lines": min(max_lines, checked.report.num_lines), **asdict(counts)}


def _shown(tokenizer: PromptTokens | None, prompt: Prompt, exact: bool) -> dict[str, str]:
    if prompt.invalid is not None:
        return {"id": prompt.id, "prompt": prompt.invalid}
    if tokenizer is not None:
        return {"id": prompt.id, "prompt": tokenizer.shown(prompt, exact)}
    texts = [f"{message['role']}: {message['content']}" for message in prompt.messages or ()]
    return {"id": prompt.id, "prompt": "\n".join(texts) or prompt.text or f"token ids {list(prompt.token_ids or ())}"}


def _described(report: dict[str, Any], has_tokenizer: bool) -> list[str]:
    lines = [
        f"{report['file']}: {report['lines']:,} lines, container {report['container']}, format {report['format']}",
        f"columns: {', '.join(report['columns'])}",
        f"model: {report['model']}",
    ]
    if report["invalid_lines"]:
        lines.append(f"invalid lines: {report['invalid_lines']:,}")
    counts = report["prompt_tokens"]
    if counts is None:
        unknown = "not counted" if has_tokenizer else "unknown, because the model's tokenizer is not on this machine"
        return [*lines, f"prompt tokens: {unknown}"]
    counted = "" if counts["lines"] == report["lines"] else f" of the first {counts['lines']:,} lines"
    lines.append(
        f"prompt tokens{counted}: {counts['total']:,} in all, median {counts['median']:,}, "
        f"longest {counts['longest']:,}"
    )
    if counts["shared"]:
        share = counts["shared"] / counts["total"]
        lines.append(f"common beginnings: {counts['shared']:,} of these tokens ({share:.0%}) are computed only once")
    if counts["too_long"]:
        lines.append(f"prompts that do not fit in the context: {counts['too_long']:,}")
    if counts["failed"]:
        lines.append(f"prompts that cannot be encoded: {counts['failed']:,}")
    return lines
