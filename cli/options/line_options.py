"""Options for what the lines of a file may say."""

from __future__ import annotations

import functools

import click

from cli.options.options import Command, with_options
from jobs.files.formats.features.last_assistant import LastAssistant
from jobs.submission.submit_options import LineOptions

_NONE = "none"


def line_options(command: Command) -> Command:
    """Add the options of lines. The command receives them as one argument `lines: LineOptions`.

    Raises (when the command runs):
        click.UsageError: Two options contradict each other.
    """

    @functools.wraps(command)
    def with_lines(
        *args: object,
        keep: tuple[str, ...] | None,
        any_model: bool,
        strict_model: bool,
        drop_last_assistant: bool,
        continue_last_assistant: bool,
        **options: object,
    ) -> object:
        if any_model and strict_model:
            raise click.UsageError("--any-model and --strict-model cannot be used together.")
        if drop_last_assistant and continue_last_assistant:
            raise click.UsageError("--drop-last-assistant and --continue-last-assistant cannot be used together.")
        ending = LastAssistant.CONTINUE if continue_last_assistant else LastAssistant.ANSWER
        ending = LastAssistant.DROP if drop_last_assistant else ending
        return command(*args, lines=LineOptions(strict_model, any_model, keep, ending), **options)

    return with_options(with_lines, _OPTIONS)


def _read_names(_ctx: click.Context, _param: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return () if text == _NONE else tuple(name.strip() for name in text.split(",") if name.strip())


_OPTIONS = (
    click.option(
        "--keep",
        metavar="COLUMNS",
        callback=_read_names,
        help="Columns of the lines (further keys, such as a gold answer) to copy into the results: a,b or none.  "
        "[default: all of them]",
    ),
    click.option("--any-model", is_flag=True, help="Let one model answer lines that name several models."),
    click.option(
        "--strict-model", is_flag=True, help="Refuse lines that name a model other than the one that answers."
    ),
    click.option(
        "--drop-last-assistant",
        is_flag=True,
        help="Remove the assistant's message at the end of a line. It comes back as the column `reference`.",
    ),
    click.option(
        "--continue-last-assistant",
        is_flag=True,
        help="Let the model go on from the assistant's message at the end of a line.",
    ),
)
