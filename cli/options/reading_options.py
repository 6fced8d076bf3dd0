"""Options for reading PROMPTS, and for making prompts of its rows."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import click

from cli.options.options import Command, WholeNumber, with_options
from jobs.files.reading.container import Container
from jobs.files.reading.row_prompts import PromptOptions
from jobs.files.reading.row_reader import ReadingOptions
from jobs.templates.conversation import Conversation, is_conversation, read_conversation


def _check_delimiter(_ctx: click.Context, _param: click.Parameter, delimiter: str | None) -> str | None:
    if delimiter == r"\t":
        return "\t"
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise click.BadParameter(
            f"{delimiter!r} cannot separate cells; a delimiter is one character, such as ; or \\t."
        )
    return delimiter


def _text_or_file(_ctx: click.Context, _param: click.Parameter, said: str | None) -> str | None:
    """Return the text, or the content of FILE for `@FILE`."""
    if said is None or not said.startswith("@"):
        return said
    try:
        return Path(said[1:]).read_text(encoding="utf-8-sig").removesuffix("\n")
    except OSError as error:
        raise click.BadParameter(f"{said[1:]} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{said[1:]} is not UTF-8.") from error


def _template(ctx: click.Context, param: click.Parameter, said: str | None) -> str | Conversation | None:
    """Return the template, or the conversation in FILE for `@FILE.yaml` and `@FILE.json`."""
    text = _text_or_file(ctx, param, said)
    if said is None or text is None or not said.startswith("@") or not is_conversation(said):
        return text
    return read_conversation(said[1:], text)


def _prompt_options(
    template: str | Conversation | None, system: str | None, raw: bool, embed: bool, id_column: str | None
) -> PromptOptions:
    prompts = PromptOptions.said(template, system, raw, id_column, embed)
    if prompts.number_rows and template is None:
        raise click.UsageError("--id-column none needs --template: without it, the rows are lines with their ids.")
    if raw and (not isinstance(template, str) or system is not None):
        raise click.UsageError("--raw needs --template with a text and no --system: a raw prompt has no messages.")
    if embed and (not isinstance(template, str) or system is not None or raw):
        raise click.UsageError("--embed needs --template with a text, and neither --system nor --raw.")
    return prompts


def reading_options(command: Command) -> Command:
    """Add the options of reading. The command receives them as one argument `reading: ReadingOptions`."""

    @functools.wraps(command)
    def with_reading(*args: object, **options: Any) -> object:  # noqa: ANN401 - click's values
        said, lines, delimiter = (options.pop(name) for name in ("input_format", "lines", "delimiter"))
        if lines and said not in (None, Container.TEXT):
            raise click.UsageError("--lines means --input-format text; leave one of the two out.")
        container = Container.TEXT if lines else Container(said) if said else None
        if delimiter and container not in (None, Container.CSV):
            raise click.UsageError("--delimiter applies only to CSV.")
        if delimiter:
            container = Container.CSV
        prompts = _prompt_options(*(options.pop(name) for name in ("template", "system", "raw", "embed", "id_column")))
        reading = ReadingOptions(container, delimiter, prompts, options.pop("limit"))
        return command(*args, reading=reading, **options)

    return with_options(with_reading, _OPTIONS)


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
    click.option("--limit", type=WholeNumber(1), metavar="N", help="Read only the first N rows of PROMPTS."),
    click.option(
        "--template",
        metavar="TEXT|@FILE",
        callback=_template,
        help="Make a user's message of each row: a jinja2 template whose variables are the row's columns. "
        "A FILE.yaml or FILE.json holds a conversation: `messages`, whose contents are templates.",
    ),
    click.option(
        "--system",
        metavar="TEXT|@FILE",
        callback=_text_or_file,
        help="Put this system message before messages that have none.",
    ),
    click.option("--raw", is_flag=True, help="Send the template's text as a raw prompt, without the chat template."),
    click.option("--embed", is_flag=True, help="Make an embedding of the template's text. Needs an embedding model."),
    click.option(
        "--id-column", metavar="NAME", help="Column with the id of each row, or none to number the rows.  [default: id]"
    ),
)
