"""The options of `serve` that limit what an API key may use."""

from __future__ import annotations

from collections.abc import Mapping

import click

from cli.options.options import Command, with_options

# Name of the field of `server.options.Limits`, default of a service with API keys, help.
_LIMITS: tuple[tuple[str, int | None, str], ...] = (
    ("requests_per_minute", 10_000, "Max requests per minute and API key."),
    ("requests_at_once", 1_000, "Max requests at once per API key and HTTP process."),
    ("uploads_per_hour", 1_000, "Max uploads per hour and API key."),
    ("batches_per_hour", 2_000, "Max new batches per hour and API key."),
    ("online_at_once", 64, "Max interactive requests at once per API key and HTTP process."),
    ("tokens_per_minute", None, "Max tokens per minute and API key: prompts and completions of interactive requests."),
)
LIMIT_NAMES = tuple(name for name, _, _ in _LIMITS)


def _option(name: str, default: int | None, text: str) -> Command:
    shown = "no limit" if default is None else f"{default:,} with API keys, else no limit"
    return click.option(
        f"--{name.replace('_', '-')}",
        type=click.IntRange(1),
        metavar="N",
        help=f"{text}  [default: {shown}]",
    )


def limit_options(command: Command) -> Command:
    """Add the options of limits."""
    return with_options(command, [_option(*limit) for limit in _LIMITS])


def limits_of(said: Mapping[str, int | None], auth: bool) -> dict[str, int | None]:
    """Return the fields of `server.options.Limits` for API keys.

    Args:
        said: Value of each option, or None if it was left out.
        auth: False if the service has no API keys. Then only the limits that were said count, for all requests.
    """
    return {name: said[name] or (default if auth else None) for name, default, _ in _LIMITS}
