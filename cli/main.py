"""The entry point of `qwen-batch`."""

from __future__ import annotations

import sys

import click

from cli.error_boundary import run_in_boundary, show_bug
from cli.lazy_group import LazyGroup
from cli.options.hidden_url import hide_password
from cli.options.options import verbosity_options
from cli.standard_streams import open_standard_streams

SECTIONS = {
    "Everything in one": ["run"],
    "Jobs on a server": [
        "submit",
        "status",
        "watch",
        "list",
        "results",
        "cancel",
        "retry",
        "extend",
        "pause",
        "resume",
        "delete",
    ],
    "Workers": ["worker", "workers"],
    "On this machine, without a queue": ["generate", "tokenize", "bench"],
}


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"qwen-batch {version('qwen-batch')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@verbosity_options
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def group() -> None:
    """Batch inference for Qwen3: a file of prompts in, a file of completions out.

    \b
    Run everything with one command. The demo model needs no download, and the
    command brings its own server:
      qwen-batch run prompts.jsonl -o results.jsonl
    \b
    Use a Redis server, workers on any number of machines, and a real model:
      qwen-batch worker --model Qwen/Qwen3-0.6B
      qwen-batch submit prompts.jsonl --model Qwen/Qwen3-0.6B

    Results go to stdout, messages to stderr. Environment variables can replace
    options: QWEN_BATCH_REDIS_URL replaces --redis-url, for example.
    """


def main() -> None:
    """Run the command line and exit with its code."""
    hide_password()
    sys.excepthook = show_bug
    open_standard_streams()
    sys.exit(run_in_boundary(lambda: group.main(prog_name="qwen-batch", standalone_mode=False)))


if __name__ == "__main__":
    main()
