"""Options for the place and the format of results."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import click

from cli.options.options import Command, errors_option, output_option, overwrite_option, with_options
from cli.options.result_target import ResultTarget
from jobs.files.reading.container import Container
from jobs.files.results.parts.reasoning import ReasoningField
from jobs.files.results.results_file import ResultStyle
from jobs.files.writing.file_format import WRITTEN


@dataclass(frozen=True)
class TargetOptions:
    """Values of the options for results."""

    output: str | None
    overwrite: bool
    style: ResultStyle
    errors: str | None

    def target(self, stats: str | None = None) -> ResultTarget:
        """Return the target of the results. `ResultTarget.of_options` describes the errors."""
        return ResultTarget.of_options(self.style, self.output, self.errors, stats)


def target_options(command: Command) -> Command:
    """Add -o, --overwrite, --errors and the options of `style_options`.

    The command receives them as one argument `wanted: TargetOptions`.
    """

    @functools.wraps(command)
    def with_target(
        *args: object, output: str | None, overwrite: bool, style: ResultStyle, errors: str | None, **options: object
    ) -> object:
        return command(*args, wanted=TargetOptions(output, overwrite, style, errors), **options)

    return with_options(with_target, (output_option, overwrite_option, style_options, errors_option))


def style_options(command: Command) -> Command:
    """Add --output-format, --flat and --reasoning-field. The command receives them as `style: ResultStyle`."""

    @functools.wraps(command)
    def with_style(
        *args: object, output_format: str | None, flat: bool, reasoning_field: str | None, **options: object
    ) -> object:
        container = Container(output_format) if output_format else None
        reasoning = ReasoningField(reasoning_field) if reasoning_field else None
        return command(*args, style=ResultStyle(container, flat, reasoning), **options)

    return with_options(with_style, _STYLE)


_STYLE = (
    click.option(
        "--output-format",
        type=click.Choice([str(container) for container in WRITTEN]),
        help="Format of the results.  [default: the ending of -o FILE decides; without a known ending, jsonl]",
    ),
    click.option(
        "--flat",
        is_flag=True,
        help="Write JSONL as flat rows: a line's columns stand beside its completion. CSV and Parquet always do so.",
    ),
    click.option(
        "--reasoning-field",
        type=click.Choice([field.value for field in ReasoningField]),
        help="Field of the results for the text of a thought.  "
        "[default: reasoning in native results and flat rows, reasoning_content in the OpenAI format]",
    ),
)
