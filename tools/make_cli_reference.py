"""Writes docs/cli.md from the help of the commands: python tools/make_cli_reference.py"""

from __future__ import annotations

from pathlib import Path

import click

from cli.main import group
from jobs.exit_codes import ExitCode

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cli.md"

EXIT_CODES = {
    ExitCode.DONE: "Done.",
    ExitCode.FAILED: "Some lines have an error (`run`, `watch`, `--wait`). The engine failed (`worker`). No worker is "
    "alive (`worker --health`).",
    ExitCode.INVALID_INPUT: "Invalid usage, prompt file, model or output path, or a job in the wrong state.",
    ExitCode.NO_SUCH_JOB: "There is no such job.",
    ExitCode.STORE_UNAVAILABLE: "The server cannot be reached, refuses the password, is full, or is not Redis.",
    ExitCode.JOB_NOT_COMPLETED: "The job was cancelled, expired or failed (`run`, `watch`, `--wait`). The workers "
    "failed while they loaded the model, or again and again (`run`).",
    ExitCode.STORE_DAMAGED: "The store has lost results of the job, or a record of it in the store is damaged.",
    ExitCode.NOT_LOADED: "An unexpected error while the model was loaded; the log has the traceback (`worker`).",
    ExitCode.INTERRUPTED: "Interrupted by Ctrl-C.",
}

SHELL_COMPLETION = """\
## Shell completion

Commands and options complete with Tab once the shell has read the script that `qwen-batch` prints for it.

    # bash 4.4 or newer: in ~/.bashrc
    eval "$(_QWEN_BATCH_COMPLETE=bash_source qwen-batch)"

    # zsh: in ~/.zshrc
    eval "$(_QWEN_BATCH_COMPLETE=zsh_source qwen-batch)"

    # fish: in ~/.config/fish/completions/qwen-batch.fish
    _QWEN_BATCH_COMPLETE=fish_source qwen-batch | source
"""


def reference() -> str:
    """Return the whole page."""
    context = _context(group, "qwen-batch", None)
    parts = [
        "# Command line",
        "`make reference` makes this page from the help of the commands; do not edit it. Environment variables can\n"
        "replace many options: [operations.md](operations.md#settings) lists the variables.",
        _help(group, context),
    ]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            raise LookupError(f"the command {name} is listed but cannot be loaded")
        parts += [f"## qwen-batch {name}", _help(command, _context(command, name, context))]
    parts += [_exit_codes(), SHELL_COMPLETION]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=80, max_content_width=80)
    context.help_option_names = list(group.context_settings["help_option_names"])  # as when the group is run
    return context


def _help(command: click.Command, context: click.Context) -> str:
    return f"```\n{command.get_help(context).rstrip()}\n```"


def _exit_codes() -> str:
    rows = [f"| {int(code)} | {EXIT_CODES[code]} |" for code in ExitCode]
    return "\n".join(["## Exit codes", "", "| code | meaning |", "|---|---|", *rows])


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
    print(f"Wrote {TARGET}.")
