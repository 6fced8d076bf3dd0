"""The command `qwen-batch submit`."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from cli.console.console import Console
from cli.console.job_row import state_text
from cli.console.progress import watch_to_the_end
from cli.options.job_options import JobOptions, job_options
from cli.options.options import (
    Command,
    WholeNumber,
    console_options,
    dry_run_option,
    model_option,
    prompts_argument,
    redis_url_option,
    settings_with,
    wait_option,
    with_options,
)
from cli.options.reading_options import reading_options
from cli.options.result_target import ResultTarget
from cli.options.target_model import say_notices, target_model, with_model_of_lines
from cli.options.target_options import TargetOptions, target_options
from cli.store import open_client, open_store_to_watch
from jobs.duration import parse_duration
from jobs.errors import OutputNotWritable
from jobs.exit_codes import ExitCode
from jobs.files.file_report import FileReport
from jobs.files.prompt_file import PromptFile
from jobs.files.reading.row_reader import ReadingOptions
from jobs.files.results.results_file import ResultStyle
from jobs.records.job import Job
from jobs.settings import Settings
from jobs.stores.protocol import JobStore
from jobs.submission.submission import Submitted
from jobs.submission.submit_options import SubmitOptions, submission_key

MAX_KEY_CHARS = 200
MAX_MODELS_SHOWN = 5


def _check_key(_ctx: click.Context, _param: click.Parameter, key: str | None) -> str | None:
    if key is not None and not (0 < len(key) <= MAX_KEY_CHARS and key.isprintable()):
        raise click.BadParameter(f"{key!r} cannot be a key; a key must have 1 to {MAX_KEY_CHARS} printable characters.")
    return key


def _parse_deadline(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    return None if text is None else parse_duration(text)


@dataclass(frozen=True)
class _Placement:
    """Values of the options that say when a job runs, and which work it shares with other jobs."""

    idempotency_key: str | None
    priority: int
    deadline: float | None  # seconds
    reuse: bool
    new: bool

    def added_to(self, options: SubmitOptions) -> SubmitOptions:
        """Return the options of the submission, with priority, deadline and reuse."""
        return dataclasses.replace(
            options,
            priority=self.priority,
            deadline_seconds=self.deadline,
            reuse=self.reuse,
        )

    def key(self, report: FileReport, model: str, options: SubmitOptions) -> str | None:
        """Return the key that makes equal submissions one job. None if --new asks for a job of its own."""
        return None if self.new else submission_key(self.idempotency_key, report, model, options)


_PLACEMENT = (
    click.option(
        "--idempotency-key",
        metavar="KEY",
        callback=_check_key,
        help="Submissions with the same key make only one job.  "
        "[default: a key made from the file's content and the options]",
    ),
    click.option(
        "--priority",
        type=WholeNumber(-100, 100),
        default=0,
        show_default=True,
        metavar="N",
        help="Jobs with a higher priority run first. Jobs of equal priority share the workers.",
    ),
    click.option(
        "--deadline",
        metavar="DURATION",
        callback=_parse_deadline,
        help="End the job after this time, such as 90s, 30m, 1h30m or 2d. Finished lines stay, others become "
        "`expired`.",
    ),
    click.option(
        "--reuse",
        is_flag=True,
        help="Copy completions of equal lines from earlier jobs of the model. Run only the other lines.",
    ),
    click.option("--new", is_flag=True, help="Make a new job even if the same submission has made one already."),
)


def _placement_options(command: Command) -> Command:
    """Add the options of `_Placement`. The command receives them as `placement: _Placement`."""

    @functools.wraps(command)
    def with_placement(
        *args: object,
        idempotency_key: str | None,
        priority: int,
        deadline: float | None,
        reuse: bool,
        new: bool,
        **options: object,
    ) -> object:
        return command(*args, placement=_Placement(idempotency_key, priority, deadline, reuse, new), **options)

    return with_options(with_placement, _PLACEMENT)


def _refuse_conflicts(wait: bool, wanted: TargetOptions, placement: _Placement) -> None:
    if (wanted.output or wanted.errors) and not wait:
        raise click.UsageError("-o and --errors need --wait. Without --wait, use `qwen-batch results` later.")
    if placement.idempotency_key and placement.new:
        raise click.UsageError("--idempotency-key and --new cannot be used together.")
    if wanted.style != ResultStyle() and not wanted.output:
        raise click.UsageError("--output-format, --flat and --reasoning-field need -o.")
    if wanted.errors and not wanted.output:
        raise click.UsageError("--errors needs -o, because stdout holds the job's id.")


def _report(console: Console, submitted: Submitted, reuse: bool) -> None:
    """Print the job's id to stdout, and to stderr whether the job is new and which lines it reuses."""
    job = submitted.job
    try:
        console.data(job.id)
    except OutputNotWritable as error:
        raise OutputNotWritable(error.message, f"The job is stored nevertheless. Its id is {job.id}.") from error
    if not submitted.is_new:
        console.say(f"This submission already has a job. Use --new to make another job. {_standing(job)}")
    elif reuse:
        console.say(f"{job.reused:,} of {job.spec.num_lines:,} lines reuse completions of earlier jobs.")
        for notice in _notices_of_weights(submitted):
            console.say(notice)
    console.detail(f"{job.spec.num_lines:,} lines in {job.spec.num_shards:,} shards, for workers of {job.spec.model}.")


def _say_if_nobody_serves(console: Console, job: Job, served: Sequence[str], model: str) -> None:
    """Print a line if the job waits for a worker of its model.

    Args:
        console: Where to print.
        job: The submitted job.
        served: Models that live workers serve.
        model: The model as the user names it.
    """
    name = job.spec.model
    if job.state.ended or name in served:
        return
    others = f" Workers serve {', '.join(served[:MAX_MODELS_SHOWN])}." if served else ""
    console.say(f"No live worker serves {name}.{others} Start one: qwen-batch worker --model {model}")


def _notices_of_weights(submitted: Submitted) -> list[str]:
    """Return notices about completions of other weights than the workers have, or may have."""
    counts, notices = submitted.reuse, []
    if counts.passed_over:
        notices.append(
            f"{counts.passed_over:,} more lines have completions by other weights (8-bit or not) than the workers of "
            f"{submitted.job.spec.model} have now, so they run again."
        )
    if counts.quantized:
        notices.append(f"{counts.quantized:,} of the reused completions come from quantised weights.")
    return notices


def _standing(job: Job) -> str:
    failed = f", {job.failed:,} of them failed: `qwen-batch retry {job.id}` runs them again" if job.failed else ""
    return f"It is {state_text(job)}: {job.done:,} of {job.spec.num_lines:,} lines are finished{failed}."


@click.command(name="submit")
@prompts_argument
@reading_options
@model_option
@job_options
@dry_run_option
@_placement_options
@wait_option
@target_options
@redis_url_option
@console_options
def command(
    console: Console,
    *,
    prompts: tuple[str, ...],
    reading: ReadingOptions,
    model: str | None,
    job: JobOptions,
    dry_run: bool,
    placement: _Placement,
    wait: bool,
    wanted: TargetOptions,
    redis_url: str | None,
) -> ExitCode:
    """Store a file of prompts as a job for the workers of its model.

    PROMPTS is a file of prompts, or - for standard input: JSONL, JSON, CSV, TSV,
    Parquet, Arrow or plain text, also compressed. Several files, or a quoted
    pattern such as 'more/*.csv', are one job. A file may be at a URL: https, hf,
    s3, gs or az (docs/urls.md). The command checks every line first. If a line is
    invalid, nothing is stored. The command prints only the job's id to stdout.

    A repeated submission of the same file, for the same model and with the same
    options, makes no second job while the first one waits, runs or is completed.
    It prints the first job's id. Use --new to make a second job.

    The sampling options apply to lines that do not set them.

    \b
    Examples:
      qwen-batch submit prompts.jsonl
      JOB=$(qwen-batch submit prompts.jsonl --model Qwen/Qwen3-0.6B)
      qwen-batch submit edited.jsonl --reuse
      qwen-batch submit prompts.jsonl --temperature 0.6 --wait -o results.jsonl
    """
    _refuse_conflicts(wait, wanted, placement)
    settings = settings_with(redis_url=redis_url, model=model)
    target = wanted.target() if wanted.output else None
    with PromptFile.open(prompts, sys.stdin.buffer, reading) as file:
        if target is not None:
            target.spare(file.paths, wanted.overwrite)
        client = open_client(settings)
        settings = with_model_of_lines(settings, model, file, client.served_models)
        options = placement.added_to(job.submission(target_model(settings, console)))
        checked = client.check(file, options, target.errors if target else None)
        say_notices(checked.report, options.model, console)
        if dry_run:
            console.say(f"{checked.report.num_lines:,} lines can be submitted. Nothing was stored.")
            return ExitCode.DONE
        served = () if wait else client.served_models()
        submitted = client.submit(checked, options, placement.key(checked.report, settings.model, options))
    _report(console, submitted, placement.reuse)
    if wait:
        return _wait_for_results(client.store, submitted.job.id, target, settings, console)
    _say_if_nobody_serves(console, submitted.job, served, settings.model)
    return ExitCode.DONE


def _wait_for_results(
    store: JobStore, job_id: str, target: ResultTarget | None, settings: Settings, console: Console
) -> ExitCode:
    """Watch a job until it ends, then write its results if there is a target. Returns the exit code of the end."""
    code = watch_to_the_end(open_store_to_watch(settings), job_id, console)
    if target is not None and code is not ExitCode.INTERRUPTED:
        for warning in target.write(store, store.jobs.get(job_id)).warnings():
            console.warn(warning)
    return code
