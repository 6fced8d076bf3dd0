"""The command `qwen-batch generate`."""

from __future__ import annotations

import sys
import time

import click

from cli.console.console import Console
from cli.options.options import console_options, seed_option, settings_with
from cli.options.sampling_options import sampling_options
from cli.options.target_model import say_if_demo
from cli.options.worker_options import require_worker_packages, worker_options
from cli.standard_streams import text_or_input
from jobs.errors import InvalidInput
from jobs.records.sampling import SamplingSettings
from jobs.stats.figures import count, rate, seconds, size


@click.command(name="generate")
@click.argument("prompt")
@click.option("--chat", is_flag=True, help="Send the prompt as a user's message in the model's chat template.")
@click.option("--no-stream", is_flag=True, help="Print the text once it is complete.")
@click.option(
    "--no-cache", is_flag=True, help="Use no KV cache: feed the whole text again for every token. Greedy only."
)
@sampling_options
@seed_option
@worker_options
@console_options
def command(
    console: Console,
    /,
    *,
    prompt: str,
    chat: bool,
    no_stream: bool,
    no_cache: bool,
    defaults: SamplingSettings,
    seed: int | None,
    **options: object,
) -> None:
    """Complete one prompt on this machine, without a server.

    The text goes to stdout as the model generates it. Speed and memory follow
    on stderr. The prompt is raw text for the model to continue. With --chat, it
    is a user's message. A prompt of `-` is read from standard input.

    \b
    Examples:
      qwen-batch generate "Explain large language models in a single sentence."
      qwen-batch generate "What is 37 + 48?" --chat --temperature 0
      qwen-batch generate "Hello" --ignore-eos --max-tokens 50
      qwen-batch generate "Hello" --no-cache --no-compile
      qwen-batch generate - --chat < question.txt
    """
    require_worker_packages()
    if no_cache and (defaults.temperature or 0) > 0:
        raise InvalidInput(
            f"--no-cache generates greedily and cannot be combined with --temperature {defaults.temperature:g}.",
            "Remove one of the two options.",
        )
    settings = settings_with(**options)
    prompt = text_or_input(prompt)
    from cli.offline.session import LocalSession  # imports torch, which takes seconds

    say_if_demo(settings, console)
    how = (
        "Loading and compiling the model; the first time takes longer …" if settings.compile else "Loading the model …"
    )
    console.say(how)
    with LocalSession.open(settings, console, no_cache) as session:
        started_at = time.monotonic()
        pieces, num_tokens = [], 0
        for piece in session.stream(prompt, chat, defaults, seed or 0):
            num_tokens += piece.is_token
            if no_stream:
                pieces.append(piece.text)
            else:
                _write(piece.text)
        _write("".join(pieces) + "\n")
        elapsed = time.monotonic() - started_at
        console.say(
            f"{count(num_tokens)} tokens in {seconds(elapsed)}, {rate(num_tokens / elapsed)} tokens/s; "
            f"loaded in {seconds(session.load_seconds)}; peak memory {size(session.peak_memory_bytes())}."
        )


def _write(text: str) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()
