"""Turns errors into messages and exit codes. Bugs keep their traceback."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable
from types import TracebackType

import click

from cli.console.console import Console
from cli.lazy_group import ReaderGone
from cli.run.worker_failure import LocalWorkerFailed
from cli.standard_streams import flush_or_drop
from jobs.errors import QwenBatchError
from jobs.exit_codes import ExitCode, code_of_error
from jobs.harmless import harmless_lines


def run_in_boundary(command: Callable[[], int | None]) -> int:
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
        text = io.StringIO()
        error.show(text)
        sys.stderr.write(harmless_lines(text.getvalue()))
        return ExitCode.INVALID_INPUT
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except (ReaderGone, BrokenPipeError):  # BrokenPipeError comes from the last flush
        flush_or_drop()
        return ExitCode.DONE
    return code or ExitCode.DONE


def show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of an uncaught error, without the passwords of URLs. Serves as `sys.excepthook`."""
    sys.stderr.write(harmless_lines("".join(traceback.format_exception(kind, error, trace))))
