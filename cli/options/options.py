"""Decorators and number types for options that more than one command has.

The value of an option that the user leaves out is None. Then the environment decides, or else the built-in default
(`settings_with`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import click
import msgspec

from cli.console.console import Console
from cli.option_advice import refuse_results_among_prompts
from jobs.harmless import has_credentials, unicode_text
from jobs.records.sampling import RANGES, Range
from jobs.settings import Settings

Command = Callable[..., Any]


def with_options(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """Return the command with more options. Its help lists them in the order of `options`."""
    for option in reversed(options):
        command = option(command)
    return command


def settings_with(**options: object) -> Settings:
    """Return the environment's settings, overridden by the given options. None means that an option was not given.

    Raises:
        InvalidInput: A `QWEN_BATCH_*` variable is unknown or has a bad value.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    return msgspec.structs.replace(Settings.from_env(), **given)


def _set_verbosity(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    step = 1 if param.name == "verbose" else -1
    if isinstance(ctx.obj, Console) and ctx.obj.verbosity == -step:
        raise click.UsageError("-v and -q cannot be used together.")
    ctx.obj = Console(verbosity=step)


def verbosity_options(command: Command) -> Command:
    """Add `-v` and `-q`, which set the `Console` of the context. They may stand before or after the command's name."""
    quiet = click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_set_verbosity,
        help="Print only errors and warnings.",
    )
    verbose = click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_set_verbosity,
        help="Print more messages to stderr.",
    )
    return verbose(quiet(command))


class WholeNumber(click.IntRange):
    """A whole number in a range. The error names the number, and says the range in words."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Return the number of a text. Raises `click.BadParameter`."""
        return int(_in_range(click.INT.convert(value, param, ctx), self, param, ctx))


class RealNumber(click.FloatRange):
    """A number in a range. The error names the number, and says the range in words."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Return the number of a text. Raises `click.BadParameter`."""
        return _in_range(click.FLOAT.convert(value, param, ctx), self, param, ctx)


def _in_range(
    number: float, kind: WholeNumber | RealNumber, param: click.Parameter | None, ctx: click.Context | None
) -> float:
    low = -math.inf if kind.min is None else kind.min
    high = math.inf if kind.max is None else kind.max
    allowed = Range(low, high, inclusive_low=not kind.min_open)
    if number not in allowed:
        words = f"at least {low:,}" if high == math.inf else str(allowed)
        kind.fail(f"{number:,} is out of range; it must be {words}.", param, ctx)
    return number


def _check_seed(_ctx: click.Context, _param: click.Parameter, seed: int) -> int:
    if seed not in RANGES["seed"]:
        raise click.BadParameter(f"{seed} is out of range; a seed must be {RANGES['seed']}.")
    return seed


redis_url_option = click.option(
    "--redis-url",
    metavar="URL",
    help="The Redis server: redis://[:PASSWORD@]HOST:PORT/DB, or rediss:// for TLS. "
    "[env: QWEN_BATCH_REDIS_URL; default: redis://localhost:6379/0]",
)

model_option = click.option(
    "-m",
    "--model",
    metavar="MODEL",
    help="A local folder or GGUF file, a hub id (such as Qwen/Qwen3-0.6B, with or without @REVISION), or demo. "
    "[env: QWEN_BATCH_MODEL; default: demo]",
)

served_model_name_option = click.option(
    "--served-model-name",
    metavar="NAME",
    help="Name of the model's queue.  [env: QWEN_BATCH_SERVED_MODEL_NAME; default: the hub id, or the name of the "
    "folder or file]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON to stdout, for scripts.")

output_option = click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write the results to FILE. A temporary file beside FILE prevents half-written results.",
)

overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Allow -o to replace PROMPTS itself. -o always replaces other existing files."
)

errors_option = click.option(
    "--errors",
    metavar="FILE",
    help="Also write failed lines to FILE. JSONL in the OpenAI format has failed lines in FILE only. "
    "If PROMPTS is refused, FILE gets every fault.  "
    "[default: none; OUTPUT.errors.jsonl for JSONL in the OpenAI format]",
)

wait_option = click.option(
    "--wait", is_flag=True, help="Watch the job until it ends. The exit code tells how it ended."
)

seed_option = click.option(
    "--seed",
    type=int,
    callback=_check_seed,
    metavar="N",
    default=0,
    show_default=True,
    help="Random seed for every line that does not set its own seed.",
)

skip_invalid_option = click.option(
    "--skip-invalid", is_flag=True, help="Run the valid lines. An invalid line gets an error as its result."
)

dry_run_option = click.option("--dry-run", is_flag=True, help="Check PROMPTS and stop. Store and run nothing.")

prompts_argument = click.argument("prompts", metavar="PROMPTS...", nargs=-1, required=True)

job_argument = click.argument("job_id", metavar="JOB")


_FILES = frozenset({"prompts", "output", "errors", "stats", "state_dir"})  # file names may be any bytes
_FREE_TEXTS = frozenset({"prompt", "text", "stop", "template", "system"})  # a prompt may contain any URL


def console_options(command: Command) -> Command:
    """Add `-v` and `-q`, and pass the `Console` of the context to the command.

    The command's arguments are checked first, because messages may show them.

    Raises (when the command runs):
        click.BadParameter: An argument is not UTF-8, or an option other than --redis-url has a URL with a password.
        InvalidInput: The last file of PROMPTS is missing and seems to be meant for the results.
    """

    @functools.wraps(command)
    def with_checked_arguments(*args: object, **options: object) -> object:
        ctx = click.get_current_context()
        _check_arguments(ctx)
        refuse_results_among_prompts(ctx)
        return command(*args, **options)

    return verbosity_options(click.make_pass_decorator(Console, ensure=True)(with_checked_arguments))


def _check_arguments(ctx: click.Context) -> None:
    for param in ctx.command.params:
        said = ctx.params.get(param.name or "")
        for text in said if isinstance(said, tuple) else (said,):
            if not isinstance(text, str):
                continue
            if param.name not in _FILES and unicode_text(text) != text:
                raise click.BadParameter("it is not UTF-8.", ctx, param)
            if param.name not in _FREE_TEXTS | {"redis_url"} and has_credentials(text):
                raise click.BadParameter("a URL with a password is allowed only in --redis-url.", ctx, param)
