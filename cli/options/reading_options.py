"""Options for reading PROMPTS."""

from __future__ import annotations

import functools

import click

from cli.options.options import Command
from jobs.files.reading.container import Container
from jobs.files.reading.row_reader import ReadingOptions


def _check_delimiter(_ctx: click.Context, _param: click.Parameter, delimiter: str | None) -> str | None:
    if delimiter == r"\t":
        return "\t"
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise click.BadParameter(
            f"{delimiter!r} cannot separate cells; a delimiter is one character, such as ; or \\t."
        )
    return delimiter


def reading_options(command: Command) -> Command:
    """Add the options of reading. The command receives them as one argument `reading: ReadingOptions`."""

    @functools.wraps(command)
    def with_reading(*args: object, **options: object) -> object:
        said, lines, delimiter = (options.pop(name) for name in ("input_format", "lines", "delimiter"))
        if lines and said not in (None, Container.TEXT):
            raise click.UsageError("--lines means --input-format text; leave one of the two out.")
        container = Container.TEXT if lines else Container(said) if isinstance(said, str) else None
        if delimiter and container not in (None, Container.CSV):
            raise click.UsageError("--delimiter applies only to CSV.")
        if isinstance(delimiter, str):
            container = Container.CSV
        reading = ReadingOptions(container, delimiter if isinstance(delimiter, str) else None)
        return command(*args, reading=reading, **options)

    decorated: Command = with_reading
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


_OPTIONS = (
    click.option(
        "--input-format",
        type=click.Choice([str(container) for container in Container]),
        help="Format of PROMPTS.  [default: recognised from the content]",
    ),
    click.option(
        "--delimiter",
        metavar="CHAR",
        callback=_check_delimiter,
        help="Character between the cells of CSV, such as ; or \\t.  [default: found in the content]",
    ),
    click.option("--lines", is_flag=True, help="Read PROMPTS as plain text: each line is a prompt."),
)
