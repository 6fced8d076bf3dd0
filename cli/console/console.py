"""Output of a command: data on stdout, messages on stderr."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import msgspec
from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.text import Text

from jobs.harmless import harmless, harmless_lines


def _rich_console(stderr: bool) -> RichConsole:
    """Return a rich console that prints text as it is: no markup, emoji names or highlighting."""
    return RichConsole(stderr=stderr, markup=False, highlight=False, emoji=False)


def _print_table(console: RichConsole, renderable: RenderableType) -> None:
    """Print a table without the trailing spaces of rich, which disturb copying and searching."""
    with console.capture() as capture:
        console.print(renderable)
    console.file.write("\n".join(line.rstrip() for line in capture.get().split("\n")))
    console.file.flush()


@dataclass(frozen=True)
class Console:
    """The two output streams of a command. `verbosity` is -1 with `-q`, 1 with `-v`, else 0.

    The methods pass texts through `harmless`. The caller of `show` and `say_table` does this itself.
    """

    verbosity: int = 0
    out: RichConsole = field(default_factory=lambda: _rich_console(stderr=False))
    err: RichConsole = field(default_factory=lambda: _rich_console(stderr=True))

    @property
    def quiet(self) -> bool:
        """True if only results and errors are to be printed."""
        return self.verbosity < 0

    def data(self, line: str) -> None:
        """Print one line of output for scripts. The line is not altered: the caller must ensure that it is harmless."""
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def json(self, value: object) -> None:
        """Print one JSON document on one line of stdout, always in UTF-8."""
        sys.stdout.flush()
        sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
        sys.stdout.buffer.flush()

    def show(self, renderable: RenderableType) -> None:
        """Print a table for people to stdout."""
        _print_table(self.out, renderable)

    def say(self, line: str) -> None:
        """Print one line to stderr. Print nothing with `-q`."""
        if not self.quiet:
            self.err.print(harmless(line), soft_wrap=True)

    def say_table(self, renderable: RenderableType) -> None:
        """Print a table to stderr. Print nothing with `-q`."""
        if not self.quiet:
            _print_table(self.err, renderable)

    def detail(self, line: str) -> None:
        """Print one line to stderr with `-v`."""
        if self.verbosity > 0:
            self.err.print(Text(harmless(line), style="dim"), soft_wrap=True)

    def warn(self, message: str) -> None:
        """Print a warning to stderr, even with `-q`."""
        self._labelled("Warning: ", "bold yellow", message)

    def error(self, message: str, hint: str = "") -> None:
        """Print why the command ends, and what to do next."""
        self._labelled("Error: ", "bold red", message)
        if hint:
            self.err.print(harmless_lines(hint), soft_wrap=True)

    def _labelled(self, label: str, style: str, message: str) -> None:
        self.err.print(Text(label, style=style) + Text(harmless_lines(message)), soft_wrap=True)
