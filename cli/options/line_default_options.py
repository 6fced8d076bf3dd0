"""Options about thinking, for lines that do not say."""

from __future__ import annotations

import functools

import click
import msgspec

from cli.options.options import Command, with_options
from jobs.records.line_defaults import LineDefaults
from jobs.records.sampling import MAX_TOKENS_LIMIT, SamplingSettings


def line_default_options(command: Command) -> Command:
    """Add --thinking and --thinking-budget. Apply this decorator below `sampling_options`.

    The command receives `line_defaults: LineDefaults`. The budget becomes a part of the command's `defaults`.
    """

    @functools.wraps(command)
    def with_line_defaults(
        *args: object,
        defaults: SamplingSettings,
        thinking: bool | None,
        thinking_budget: int | None,
        **options: object,
    ) -> object:
        defaults = msgspec.structs.replace(defaults, thinking_token_budget=thinking_budget)
        return command(*args, defaults=defaults, line_defaults=LineDefaults(thinking=thinking), **options)

    return with_options(with_line_defaults, _OPTIONS)


_OPTIONS = (
    click.option(
        "--thinking/--no-thinking",
        default=None,
        help="Switch thinking on or off for `messages` that do not set enable_thinking.  "
        "[default: as the chat template does]",
    ),
    click.option(
        "--thinking-budget",
        type=click.IntRange(0, MAX_TOKENS_LIMIT),
        metavar="N",
        help="End each thought after N tokens, so that the answer follows.  [default: no limit]",
    ),
)
