"""The one place where an error becomes a message and an exit code. A bug stays a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import click

from cli.console import Console
from cli.exit_codes import ExitCode, code_of_error
from cli.lazy_group import ReaderGone
from cli.worker_failure import LocalWorkerFailed
from jobs.errors import QwenBatchError


def run_in_boundary(command: Callable[[], int | None]) -> int:
    """Run a command and return the exit status of the process.

    Args:
        command: Returns an exit code, or None for "done".
    """
    try:
        code = command()
        sys.stdout.flush()
    except QwenBatchError as error:
        Console().error(error.message, error.hint)
        return error.exit_code if isinstance(error, LocalWorkerFailed) else code_of_error(error)
    except click.ClickException as error:  # click's own: a mistyped option, say
        error.show()
        return ExitCode.INVALID_INPUT
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except (ReaderGone, BrokenPipeError):  # BrokenPipeError: by the last flush
        _drop_stdout()
        return ExitCode.DONE
    return code or ExitCode.DONE


def _drop_stdout() -> None:
    """Let Python's own flush at exit find an open file instead of the broken pipe."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
