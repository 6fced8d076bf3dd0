"""Advice on options and arguments that a user guesses from other tools."""

from __future__ import annotations

import difflib
import glob
import io
import sys
from pathlib import Path

import click

from jobs.errors import InvalidInput
from jobs.files.remote.urls import is_url
from jobs.harmless import unicode_text

# Option of another tool -> the option that does it here, and how to write it.
_SAME_HERE = {
    "--prompt": ("--template", "--template 'TEXT {{ COLUMN }}'"),
    "--prompt-template": ("--template", "--template 'TEXT {{ COLUMN }}'"),
    "--prompt-column": ("--template", "--template '{{ COLUMN }}'"),
    "--text-column": ("--template", "--template '{{ COLUMN }}'"),
    "--column": ("--template", "--template '{{ COLUMN }}'"),
    "--columns": ("--keep", "--keep COLUMNS"),
    "--system-prompt": ("--system", "--system TEXT"),
    "--json-schema": ("--schema", "--schema FILE"),
    "--response-format": ("--schema", "--schema FILE"),
    "--guided-json": ("--schema", "--schema FILE"),
    "--guided-regex": ("--regex", "--regex PATTERN"),
    "--guided-choice": ("--choices", "--choices a,b,c"),
    "--labels": ("--choices", "--choices a,b,c"),
    "--classes": ("--choices", "--choices a,b,c"),
    "--format": ("--output-format", "--output-format FORMAT"),
    "--output-file": ("--output", "--output FILE"),
    "--out": ("--output", "--output FILE"),
    "--force": ("--overwrite", "--overwrite"),
    "--max-new-tokens": ("--max-tokens", "--max-tokens N"),
    "--max-length": ("--max-tokens", "--max-tokens N"),
    "--batch-size": ("--max-num-seqs", "--max-num-seqs N"),
    "--concurrency": ("--max-num-seqs", "--max-num-seqs N"),
    "--max-num-batched-tokens": ("--max-batched-tokens", "--max-batched-tokens N"),
    "--gpu-memory-utilization": ("--kv-cache-memory", "--kv-cache-memory SIZE"),
    "--quantization": ("--quantize", "--quantize int8"),
    "--num-workers": ("--workers", "--workers N"),
    "--enforce-eager": ("--compile", "--no-compile"),
    "--redis": ("--redis-url", "--redis-url URL"),
    "--broker": ("--redis-url", "--redis-url URL"),
    "--broker-url": ("--redis-url", "--redis-url URL"),
}
_FILE_OPTIONS = ("-i", "--input", "--input-file", "--file", "--prompts", "--data")


def described(error: click.ClickException) -> str:
    """Return click's message for a wrong command line. Known advice replaces the option names that click guesses."""
    text = io.StringIO()
    advice = _advice_on(error)
    if advice is not None and isinstance(error, click.NoSuchOption):
        error = click.NoSuchOption(error.option_name, ctx=error.ctx)
    elif isinstance(error, click.NoSuchOption) and error.possibilities:
        error = click.NoSuchOption(error.option_name, possibilities=_nearest(error), ctx=error.ctx)
    error.show(text)
    return text.getvalue() if advice is None else f"{text.getvalue()}{advice}\n"


def refuse_results_among_prompts(ctx: click.Context) -> None:
    """Refuse a last file of PROMPTS that does not exist, if the user probably means the file of the results.

    Many tools take the file of the results as their last argument.

    Raises:
        InvalidInput: PROMPTS has several files, the last one is missing, all others exist, and there is no -o.
    """
    *files, last = ctx.params.get("prompts") or ("",)
    has_output = any(param.name == "output" for param in ctx.command.params)
    if not files or not has_output or ctx.params.get("output") is not None:
        return
    if (
        not is_url(last)
        and not glob.has_magic(last)
        and not Path(last).exists()
        and Path(last).suffix
        and all(Path(file).exists() for file in files)
    ):
        name = unicode_text(last)
        option = "--wait -o" if ctx.params.get("wait") is False else "-o"
        raise InvalidInput(f"There is no file {name}.", f"To write the results to it, say {option} {name}.")


def _nearest(error: click.NoSuchOption) -> list[str]:
    """Return the option that is nearest to the mistyped one. Click sorts its guesses by the alphabet."""
    return difflib.get_close_matches(error.option_name, error.possibilities or (), n=1, cutoff=0.0)


def _advice_on(error: click.ClickException) -> str | None:
    """Return what to write instead, or how to find the missing job. None if nothing is known."""
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption) and context is not None:
        return _instead_of(error.option_name.replace("_", "-"), context)
    if isinstance(error, click.MissingParameter) and error.param is not None and error.param.name == "job_id":
        return "List the jobs with `qwen-batch list`."
    if (
        isinstance(error, click.MissingParameter)
        and error.param is not None
        and error.param.name == "prompts"
        and context is not None
        and not sys.stdin.isatty()
    ):
        return f"To read standard input, say {context.command_path} {_arguments_with_standard_input(context)}."
    return None


def _arguments_with_standard_input(context: click.Context) -> str:
    """Return the command's arguments, with - in the place of PROMPTS."""
    arguments = (param for param in context.command.params if isinstance(param, click.Argument))
    return " ".join("-" if param.name == "prompts" else param.make_metavar(context) for param in arguments)


def _instead_of(name: str, context: click.Context) -> str | None:
    params = context.command.params
    options = {option for param in params if isinstance(param, click.Option) for option in param.opts}
    if name in options:
        return f"Write {name}, with hyphens."
    option, form = _SAME_HERE.get(name, ("", ""))
    if option in options:
        return f"Write {form}."
    if name in _FILE_OPTIONS and any(param.name == "prompts" for param in params):
        return f"Write the file without an option: {context.command_path} prompts.jsonl."
    return None
