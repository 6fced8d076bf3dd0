"""Options for the format of results."""

from __future__ import annotations

import functools

import click

from cli.options.options import Command, with_options
from jobs.files.reading.container import Container
from jobs.files.results.reasoning import ReasoningField
from jobs.files.results.results_file import ResultStyle
from jobs.files.writing.file_format import WRITTEN


def style_options(command: Command) -> Command:
    """Add --output-format, --flat and --reasoning-field. The command receives them as `style: ResultStyle`."""

    @functools.wraps(command)
    def with_style(
        *args: object, output_format: str | None, flat: bool, reasoning_field: str | None, **options: object
    ) -> object:
        container = Container(output_format) if output_format else None
        reasoning = ReasoningField(reasoning_field) if reasoning_field else None
        return command(*args, style=ResultStyle(container, flat, reasoning), **options)

    return with_options(with_style, _OPTIONS)


_OPTIONS = (
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
