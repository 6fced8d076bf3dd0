"""Options that say how the lines of a job run. `run` and `submit` share them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import click
import msgspec

from cli.options.constraint_options import constraint_options
from cli.options.line_options import line_options
from cli.options.options import Command, WholeNumber, seed_option, skip_invalid_option, with_options
from cli.options.sampling_options import sampling_options
from cli.options.target_model import TargetModel
from jobs.records.line_defaults import LineDefaults
from jobs.records.sampling import MAX_TOKENS_LIMIT, SamplingSettings
from jobs.submission.submit_options import LineOptions, SubmitOptions


@dataclass(frozen=True)
class JobOptions:
    """Values of the options of a job whose model is not known yet."""

    defaults: SamplingSettings
    line_defaults: LineDefaults
    seed: int
    skip_invalid: bool
    lines: LineOptions

    def submission(self, model: TargetModel) -> SubmitOptions:
        """Return the options of a submission to a model."""
        return SubmitOptions(
            model.name,
            self.defaults,
            self.seed,
            self.skip_invalid,
            model.card,
            lines=self.lines,
            line_defaults=self.line_defaults,
        )


def job_options(command: Command) -> Command:
    """Add the options for sampling, thinking, constraints, the seed and invalid lines.

    The command receives them as one argument `job: JobOptions`.

    Raises (when the command runs):
        click.UsageError: Two options contradict each other.
        InvalidInput: A value is outside its range, or a constraint cannot be used.
    """

    @functools.wraps(command)
    def with_job(
        *args: object,
        defaults: SamplingSettings,
        line_defaults: LineDefaults,
        seed: int,
        skip_invalid: bool,
        lines: LineOptions,
        **options: object,
    ) -> object:
        return command(*args, job=JobOptions(defaults, line_defaults, seed, skip_invalid, lines), **options)

    # Each group of options passes its values to the next one, so the order counts.
    groups = (
        sampling_options,
        _thinking_options,
        constraint_options,
        seed_option,
        skip_invalid_option,
        line_options,
    )
    return with_options(with_job, groups)


def _thinking_options(command: Command) -> Command:
    """Add --thinking and --thinking-budget. The budget becomes a part of the command's `defaults`."""

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

    return with_options(with_line_defaults, _THINKING)


_THINKING = (
    click.option(
        "--thinking/--no-thinking",
        default=None,
        help="Switch thinking on or off for `messages` that do not set enable_thinking.  "
        "[default: as the chat template does]",
    ),
    click.option(
        "--thinking-budget",
        type=WholeNumber(0, MAX_TOKENS_LIMIT),
        metavar="N",
        help="End each thought after N tokens, so that the answer follows.  [default: no limit]",
    ),
)
