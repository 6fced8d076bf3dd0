"""The entry point of `qwen-batch`. Errors become messages and exit codes; bugs keep their traceback."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from types import TracebackType

import click

from cli.console.console import Console
from cli.lazy_group import LazyGroup, ReaderGone
from cli.option_advice import described
from cli.options.hidden_url import hide_password
from cli.options.options import verbosity_options
from cli.run.worker_failure import LocalWorkerFailed
from cli.standard_streams import flush_or_drop, open_standard_streams
from jobs.errors import QwenBatchError
from jobs.exit_codes import ExitCode, code_of_error
from jobs.harmless import harmless_lines

SECTIONS = {
    "Everything in one": ["run"],
    "Jobs on a server": [
        "jobs.submit",
        "jobs.status",
        "jobs.watch",
        "jobs.list",
        "jobs.results",
        "jobs.cancel",
        "jobs.retry",
        "jobs.extend",
        "jobs.pause",
        "jobs.resume",
        "jobs.delete",
    ],
    "Workers": ["machines.worker", "machines.workers"],
    "HTTP service": ["machines.serve", "machines.keys"],
    "On this machine, without a queue": ["offline.check", "offline.generate", "offline.tokenize", "offline.bench"],
}


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"qwen-batch {version('qwen-batch')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@verbosity_options
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def group() -> None:
    """Batch inference for Qwen3: a file of prompts in, a file of completions out.

    \b
    Run everything with one command. The demo model needs no download, and the
    command brings its own server:
      qwen-batch run prompts.jsonl -o results.jsonl
    \b
    Use a Redis server, workers on any number of machines, and a real model:
      qwen-batch worker --model Qwen/Qwen3-0.6B
      qwen-batch submit prompts.jsonl --model Qwen/Qwen3-0.6B

    Results go to stdout, messages to stderr. Environment variables can replace
    options: QWEN_BATCH_REDIS_URL replaces --redis-url, for example.
    """


def main() -> None:
    """Run the command line and exit with its code."""
    hide_password()
    sys.excepthook = _show_bug
    open_standard_streams()
    sys.exit(_run_in_boundary(lambda: group.main(prog_name="qwen-batch", standalone_mode=False)))


def _run_in_boundary(command: Callable[[], int | None]) -> int:
    """Run a command and return the exit status of the process.

    Args:
        command: Returns an exit code. None means success.
    """
    try:
        code = command()
        sys.stdout.flush()
    except QwenBatchError as error:
        flush_or_drop()
        Console().error(error.message, error.hint)
        return error.exit_code if isinstance(error, LocalWorkerFailed) else code_of_error(error)
    except click.ClickException as error:  # from click itself, for example a mistyped option
        sys.stderr.write(harmless_lines(described(error)))
        return ExitCode.INVALID_INPUT
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except (ReaderGone, BrokenPipeError):  # BrokenPipeError comes from the last flush
        flush_or_drop()
        return ExitCode.DONE
    return code or ExitCode.DONE


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of an uncaught error, without the passwords of URLs. Serves as `sys.excepthook`."""
    sys.stderr.write(harmless_lines("".join(traceback.format_exception(kind, error, trace))))


if __name__ == "__main__":
    main()
