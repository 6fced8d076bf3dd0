"""Sampling options: defaults for lines that do not set them."""

from __future__ import annotations

import functools
from typing import Any

import click

from cli.options.options import Command, with_options
from jobs.errors import InvalidInput
from jobs.records.sampling import RANGES, SamplingSettings

# name -> type, help. SamplingSettings checks the ranges.
_NUMBERS: dict[str, tuple[type, str]] = {
    "max_tokens": (int, "Maximum new tokens per completion. Default: what fits in the context."),
    "min_tokens": (int, "Minimum new tokens per completion. Before that, end-of-text and stops have no effect."),
    "temperature": (float, "Sampling temperature. 0 is greedy: always the likeliest token."),
    "top_k": (int, "Sample from the N likeliest tokens. 0 keeps all tokens."),
    "top_p": (float, "Sample from the likeliest tokens whose total probability reaches N."),
    "min_p": (float, "Drop tokens whose probability is below N times that of the likeliest token."),
    "presence_penalty": (float, "Penalise tokens that already occur in the completion."),
    "frequency_penalty": (float, "Penalise tokens in proportion to how often they occur in the completion."),
    "repetition_penalty": (
        float,
        "Penalise tokens that occur in the prompt or the completion: divide their logits by N.",
    ),
}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def sampling_options(command: Command) -> Command:
    """Add the sampling options. The command receives them as one argument `defaults: SamplingSettings`.

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

    return with_options(with_defaults, _options())


def _options() -> list[Any]:
    numbers = [
        click.option(_flag(name), type=kind, metavar="N", help=f"{help} ({RANGES[name]})")
        for name, (kind, help) in _NUMBERS.items()
    ]
    others = [
        click.option("--stop", multiple=True, metavar="TEXT", help="End the completion before this text. Repeatable."),
        click.option(
            "--stop-token-id",
            "stop_token_ids",
            type=int,
            multiple=True,
            metavar="ID",
            help="End the completion at this token id. Repeatable.",
        ),
        click.option("--ignore-eos", is_flag=True, default=None, help="Continue past the model's end-of-text token."),
    ]
    return [*numbers, *others]
