"""Options for what completions must look like: defaults for lines that do not say it themselves."""

from __future__ import annotations

import functools

import click
import msgspec

from cli.options.options import Command, with_options
from jobs.constraints import requested
from jobs.constraints.checker import ConstraintChecker
from jobs.constraints.schema_file import read_schema_file
from jobs.errors import InvalidInput
from jobs.files.formats.features.score import choices as scored_choices
from jobs.files.formats.fields import Notes
from jobs.files.formats.json_line import LineInvalid
from jobs.records.constraint import Constraint
from jobs.records.line_defaults import NO_LINE_DEFAULTS, LineDefaults


def constraint_options(command: Command) -> Command:
    """Add --schema, --choices, --regex and --score. They become a part of the argument `line_defaults: LineDefaults`.

    A decorator above this one may pass a `line_defaults`.

    Raises (when the command runs):
        click.UsageError: More than one of the options is given.
        InvalidInput: The schema, the choices or the regular expression cannot be used.
    """

    @functools.wraps(command)
    def with_constraint(
        *args: object,
        line_defaults: LineDefaults = NO_LINE_DEFAULTS,
        schema: str | None,
        choices: str | None,
        regex: str | None,
        score: str | None,
        **options: object,
    ) -> object:
        said = {"--schema": schema, "--choices": choices, "--regex": regex, "--score": score}
        given = [name for name, value in said.items() if value is not None]
        if len(given) > 1:
            raise click.UsageError(f"{given[0]} and {given[1]} cannot be used together.")
        if given == ["--score"]:
            line_defaults = msgspec.structs.replace(line_defaults, score=_scored(score or ""))
        elif given:
            constraint = _constraint(given[0], said[given[0]] or "")
            line_defaults = msgspec.structs.replace(line_defaults, constraint=constraint)
        return command(*args, line_defaults=line_defaults, **options)

    return with_options(with_constraint, _OPTIONS)


def _constraint(option: str, value: str) -> Constraint:
    try:
        if option == "--schema":
            constraint = read_schema_file(value, option)
        elif option == "--choices":
            constraint = _choices(value)
        else:
            constraint = requested.regex(option, value)
        return ConstraintChecker(Notes()).checked(constraint)
    except LineInvalid as error:
        raise InvalidInput(f"{option} {value} cannot be used: {str(error).replace('`', '')}.") from error


def _choices(value: str) -> Constraint:
    return requested.choice("--choices", _texts(value))


def _scored(value: str) -> tuple[str, ...]:
    try:
        return scored_choices("--score", _texts(value))
    except LineInvalid as error:
        raise InvalidInput(f"--score {value} cannot be used: {str(error).replace('`', '')}.") from error


def _texts(value: str) -> list[str]:
    texts = [text for each in value.split(",") if (text := each.strip())]
    if not texts:
        raise LineInvalid("it names no text; write texts with commas between them, such as good,bad")
    return texts


def _joined(_ctx: click.Context, _param: click.Parameter, said: tuple[str, ...]) -> str | None:
    return ",".join(said) if said else None


_OPTIONS = (
    click.option(
        "--schema",
        metavar="FILE",
        help="Make every completion JSON that is valid for the JSON schema in FILE.",
    ),
    click.option(
        "--choices",
        metavar="TEXTS",
        multiple=True,
        callback=_joined,
        help="Make every completion one of these texts: a,b,c. Repeatable.",
    ),
    click.option(
        "--score",
        metavar="TEXTS",
        multiple=True,
        callback=_joined,
        help="Generate nothing; tell how likely the model finds each of these texts as the answer: a,b,c. Repeatable.",
    ),
    click.option("--regex", metavar="PATTERN", help="Make every completion match this regular expression as a whole."),
)
