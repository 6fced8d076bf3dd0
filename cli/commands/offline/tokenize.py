"""The command `qwen-batch tokenize`."""

from __future__ import annotations

import click

from cli.console.console import Console
from cli.options.options import console_options, json_option, model_option, settings_with
from cli.options.target_model import say_if_demo
from cli.options.worker_options import require_worker_packages
from cli.standard_streams import text_or_input
from jobs.harmless import harmless


@click.command(name="tokenize")
@click.argument("text")
@model_option
@click.option("--chat", is_flag=True, help="Put the text into the model's chat template, as a user's message.")
@json_option
@console_options
def command(console: Console, text: str, model: str | None, chat: bool, as_json: bool) -> None:
    """Show the tokens of a text: each token's id beside its text.

    A text of `-` is read from standard input.

    A part of a character is shown as U+FFFD, because a token may hold only part
    of a character. Line breaks and other control characters are escaped, such
    as \\n.

    \b
    Examples:
      qwen-batch tokenize "Hello, world."
      qwen-batch tokenize "Hello" --chat --model Qwen/Qwen3-0.6B
      qwen-batch tokenize "Hello, world." --json | jq length
    """
    require_worker_packages()
    from cli.offline.prompt_ids import prompt_ids
    from model.checkpoint.hub import resolve_model
    from model.text.tokenizer import Tokenizer

    settings, text = settings_with(model=model), text_or_input(text)
    say_if_demo(settings, console)
    tokenizer = Tokenizer.from_folder(resolve_model(settings.model, show_progress=False).path)
    tokens = [(token_id, tokenizer.token_text(token_id)) for token_id in prompt_ids(tokenizer, text, chat)]
    if as_json:
        console.json([{"id": token_id, "text": token_text} for token_id, token_text in tokens])
        return
    for token_id, token_text in tokens:
        console.data(f"[{token_id}] --> {harmless(token_text)}")
