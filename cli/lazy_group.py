"""A click group that imports a command only when the command is used. Each command therefore starts fast."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import click


class ReaderGone(Exception):
    """The reader of standard output has closed it, such as `head` in `results JOB | head`."""


class LazyGroup(click.Group):
    """A group with commands in titled sections. Each module below `cli.commands` holds one command as `command`.

    Args:
        sections: Modules of the commands by title of their section in the help, both in the order shown. A module is
            named from `cli.commands` on: "jobs.submit". Its last word is the command's name.
    """

    def __init__(self, *, sections: Mapping[str, Sequence[str]], **attributes: Any) -> None:  # noqa: ANN401
        super().__init__(**attributes)
        self._sections = {title: [_name(module) for module in modules] for title, modules in sections.items()}
        self._modules = {_name(module): f"cli.commands.{module}" for modules in sections.values() for module in modules}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all commands, in the order of the sections."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command's module and return the command. Returns None for an unknown name."""
        if cmd_name not in self._modules:
            return None
        command: click.Command = importlib.import_module(self._modules[cmd_name]).command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line. `help` and `help COMMAND` mean `--help` and `COMMAND --help`."""
        if args[:1] == ["help"]:
            args = [*args[1:2], "--help"]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first word names. The error for an unknown command suggests the nearest name."""
        name = args[0]
        nearest = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
        if nearest and name not in self.list_commands(ctx) and not name.startswith("-"):
            ctx.fail(f"No such command {name!r}. Did you mean {nearest[0]!r}?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. Raises `ReaderGone` for a broken pipe.

        click would exit with 1 on a broken pipe, but here 1 means that lines have failed.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the section of each group of commands."""
        width = formatter.width - 6 - max(len(name) for name in self.list_commands(ctx))
        for title, names in self._sections.items():
            commands = {name: self.get_command(ctx, name) for name in names}
            rows = [(name, command.get_short_help_str(width)) for name, command in commands.items() if command]
            with formatter.section(title):
                formatter.write_dl(rows)


def _name(module: str) -> str:
    return module.rpartition(".")[2]
