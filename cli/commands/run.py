"""The command `qwen-batch run`."""

from __future__ import annotations

import sys

import click

from cli.console.console import Console
from cli.options.job_options import JobOptions, job_options
from cli.options.options import WholeNumber, console_options, dry_run_option, prompts_argument, settings_with
from cli.options.reading_options import reading_options
from cli.options.target_model import check_model_name, say_notices, target_model, with_model_of_lines
from cli.options.target_options import TargetOptions, target_options
from cli.options.worker_options import require_worker_packages, worker_options
from cli.run.interruption import Interruption
from cli.run.local_run import LocalRun
from cli.store import open_client
from jobs.exit_codes import ExitCode
from jobs.files.prompt_file import PromptFile
from jobs.files.reading.row_reader import ReadingOptions
from jobs.settings import Settings
from jobs.submission.checking import check_file


@click.command(name="run")
@prompts_argument
@reading_options
@target_options
@click.option("--stats", metavar="FILE", help="Write the job's statistics to FILE, as `status --json` prints them.")
@job_options
@dry_run_option
@worker_options
@click.option(
    "--workers",
    "num_workers",
    type=WholeNumber(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Number of worker processes.",
)
@click.option(
    "--state-dir",
    metavar="FOLDER",
    help="Folder for unfinished runs.  [env: QWEN_BATCH_STATE_DIR; default: ~/.local/state/qwen-batch]",
)
@click.option(
    "--redis-url",
    metavar="URL",
    help="Use this Redis server instead of a private one. The job stays on the server.  [env: QWEN_BATCH_REDIS_URL]",
)
@console_options
def command(
    console: Console,
    /,
    *,
    prompts: tuple[str, ...],
    reading: ReadingOptions,
    wanted: TargetOptions,
    stats: str | None,
    job: JobOptions,
    dry_run: bool,
    num_workers: int,
    **options: str | None,
) -> ExitCode:
    """Run a file of prompts on this machine, in one command.

    PROMPTS is a file of prompts, or - for standard input: JSONL, JSON, CSV, TSV,
    Parquet, Arrow or plain text, also compressed. Several files, or a quoted
    pattern such as 'more/*.csv', are one job. A file may be at a URL: https, hf,
    s3, gs or az (docs/urls.md). Results go to stdout or to the file or URL of
    -o, in input order. The ending of FILE decides the format: .jsonl, .csv,
    .tsv, .parquet or .arrow.

    The command starts and stops its own server and workers. After an interrupt
    or a kill, the same command continues where the run stopped. Once the
    results are written, the command deletes its own data.

    \b
    Exit codes: 0 done, 1 some lines failed, 2 invalid input or model,
    4 no server, 5 the job could not run, 6 the server lost results,
    130 interrupted.

    \b
    Examples:
      qwen-batch run prompts.jsonl -o results.jsonl
      qwen-batch run prompts.jsonl --model Qwen/Qwen3-0.6B --max-tokens 256
      qwen-batch run reviews.csv --template 'Good or bad? {{ text }}' -o out.csv
      echo '{"prompt": "What is 2 + 3?"}' | qwen-batch run - | jq .completion
    """
    require_worker_packages()
    settings = settings_with(**options)
    target = wanted.target(stats)
    embedded = options["redis_url"] is None and not Settings.server_is_named()
    interruption = Interruption()
    with PromptFile.open(prompts, sys.stdin.buffer, reading) as file:
        target.spare(file.paths, wanted.overwrite)
        client = None if embedded else open_client(settings)
        named = options["model"] or options["served_model_name"]
        settings = with_model_of_lines(settings, named, file, client.served_models if client else tuple)
        check_model_name(settings.model)
        submission = job.submission(target_model(settings, console))
        _check_as_a_worker_does(settings.model)
        if client is not None:
            checked = client.check(file, submission, target.errors)
        else:
            checked = check_file(file, submission, errors=target.errors, keep=True)
        say_notices(checked.report, submission.model, console)
        if dry_run:
            console.say(f"{checked.report.num_lines:,} lines can be run. Nothing was run.")
            return ExitCode.DONE
        return LocalRun(checked, submission, target, settings, embedded, num_workers)(console, interruption)


def _check_as_a_worker_does(model: str) -> None:
    from cli.run.model_settings import check_model_settings  # needs the worker's packages

    check_model_settings(model)
