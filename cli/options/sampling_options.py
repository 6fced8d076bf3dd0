"""The sampling settings as options: defaults for the lines of a file that leave them out."""

from __future__ import annotations

import functools
from typing import Any

import click

from cli.options.options import Command
from jobs.errors import InvalidInput
from jobs.records.sampling import RANGES, SamplingSettings

# name -> type, metavar, help. Ranges are checked and named by SamplingSettings itself.
_NUMBERS: dict[str, tuple[type, str]] = {
    "max_tokens": (int, "New tokens at the most; what the model's context leaves, if nobody says."),
    "min_tokens": (int, "No end of text before this many new tokens."),
    "temperature": (float, "0 is greedy: the likeliest token, always."),
    "top_k": (int, "Draw from the K likeliest tokens; 0 keeps all."),
    "top_p": (float, "Draw from the likeliest tokens that hold this much probability."),
    "min_p": (float, "Drop tokens less likely than this share of the likeliest."),
    "presence_penalty": (float, "Against tokens that the completion already has."),
    "frequency_penalty": (float, "The same, times how often it has them."),
    "repetition_penalty": (float, "Divides the logits of tokens in prompt or completion."),
}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def sampling_options(command: Command) -> Command:
    """Adds the options; the command receives them as one `defaults: SamplingSettings`.

    Raises (when the command runs):
        InvalidInput: A value is outside its range.
    """

    @functools.wraps(command)
    def with_defaults(*args: object, **options: object) -> object:
        names = [*_NUMBERS, "stop", "stop_token_ids", "ignore_eos"]
        said: dict[str, Any] = {name: value for name in names if (value := options.pop(name)) not in (None, ())}
        try:
            defaults = SamplingSettings(**said)
        except ValueError as error:
            raise InvalidInput(f"A sampling option cannot be used: {error}.") from error
        return command(*args, defaults=defaults, **options)

    decorated: Command = with_defaults
    for option in reversed(_options()):
        decorated = option(decorated)
    return decorated


def _options() -> list[Any]:
    numbers = [
        click.option(_flag(name), type=kind, metavar="N", help=f"{help} ({RANGES[name]})")
        for name, (kind, help) in _NUMBERS.items()
    ]
    others = [
        click.option("--stop", multiple=True, metavar="TEXT", help="End before this text; may be repeated."),
        click.option(
            "--stop-token-id", "stop_token_ids", type=int, multiple=True, metavar="ID", help="End at this token too."
        ),
        click.option("--ignore-eos", is_flag=True, default=None, help="Run on past the model's own end of text."),
    ]
    return [*numbers, *others]
