"""`qwen-batch submit`"""

from __future__ import annotations

import sys

import click

from cli.console import Console
from cli.exit_codes import ExitCode
from cli.options import (
    errors_option,
    model_option,
    output_option,
    pass_console,
    prompts_argument,
    redis_url_option,
    seed_option,
    settings_with,
    skip_invalid_option,
    verbosity_options,
    wait_option,
)
from cli.outcome import watch_to_the_end
from cli.result_target import ResultTarget
from cli.sampling_options import sampling_options
from cli.store import open_hints, open_store
from cli.target_model import target_model
from jobs.prompt_file import PromptFile
from jobs.sampling import SamplingSettings
from jobs.submission import SubmitOptions, submit_file


@click.command(name="submit")
@prompts_argument
@model_option
@sampling_options
@seed_option
@skip_invalid_option
@wait_option
@output_option
@errors_option
@redis_url_option
@verbosity_options
@pass_console
def command(
    console: Console,
    *,
    prompts: str,
    model: str | None,
    defaults: SamplingSettings,
    seed: int,
    skip_invalid: bool,
    wait: bool,
    output: str | None,
    errors: str | None,
    redis_url: str | None,
) -> ExitCode:
    """Store a file of prompts as a job for the workers of its model.

    PROMPTS is a JSONL file, in the native or the OpenAI batch format, or -
    for standard input. Every line is checked first; if one is bad, nothing is
    stored. stdout is the job's id and nothing else.

    The sampling options are for lines that leave the setting out.

    \b
    Examples:
      qwen-batch submit prompts.jsonl
      JOB=$(qwen-batch submit prompts.jsonl --model Qwen/Qwen3-0.6B)
      qwen-batch submit prompts.jsonl --temperature 0.6 --wait -o results.jsonl
    """
    if (output or errors) and not wait:
        raise click.UsageError("-o and --errors need --wait; without it use `qwen-batch results` later.")
    if errors and not output:
        raise click.UsageError("--errors needs -o: stdout is for the job's id.")
    settings = settings_with(redis_url=redis_url, model=model)
    target = ResultTarget.of_options(output, errors) if output else None
    with PromptFile.open(prompts, sys.stdin.buffer) as file:
        store = open_store(settings)
        chosen = target_model(settings, console)
        options = SubmitOptions(chosen.name, defaults, seed, skip_invalid, chosen.card)
        job = submit_file(store, open_hints(settings), file, options)
    console.data(job.id)
    console.detail(f"{job.spec.num_lines:,} lines in {job.spec.num_shards:,} shards, for workers of {job.spec.model}.")
    if not wait:
        return ExitCode.DONE
    code = watch_to_the_end(store, job.id, console)
    if target is not None and code is not ExitCode.INTERRUPTED:
        target.write(store, store.job(job.id))
    return code
