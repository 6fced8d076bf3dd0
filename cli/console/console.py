"""Where a command speaks: stdout is data, stderr is talk."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import msgspec
from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.text import Text

from jobs.harmless import harmless, harmless_lines


def _rich_console(stderr: bool) -> RichConsole:
    """Markup, emoji names and highlighting are off: nothing inside a text is an instruction."""
    return RichConsole(stderr=stderr, markup=False, highlight=False, emoji=False)


def _print_table(console: RichConsole, renderable: RenderableType) -> None:
    """rich fills the last column with spaces, which are in the way when the text is copied or searched."""
    with console.capture() as capture:
        console.print(renderable)
    console.file.write("\n".join(line.rstrip() for line in capture.get().split("\n")))
    console.file.flush()


@dataclass(frozen=True)
class Console:
    """The two streams of a command. `verbosity` is -1 with `-q`, 0, or 1 with `-v`.

    Texts pass through `harmless`; what is rendered by `show` must have passed through it already.
    """

    verbosity: int = 0
    out: RichConsole = field(default_factory=lambda: _rich_console(stderr=False))
    err: RichConsole = field(default_factory=lambda: _rich_console(stderr=True))

    @property
    def quiet(self) -> bool:
        return self.verbosity < 0

    def data(self, line: str) -> None:
        """One line of output that a script may read. Not altered: the caller vouches for it."""
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def json(self, value: object) -> None:
        """One JSON document on one line of stdout, in UTF-8 whatever the locale says."""
        sys.stdout.flush()
        sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
        sys.stdout.buffer.flush()

    def show(self, renderable: RenderableType) -> None:
        """A table for people, on stdout: what a reading command answers."""
        _print_table(self.out, renderable)

    def say(self, line: str) -> None:
        """One line of talk on stderr; nothing with `-q`."""
        if not self.quiet:
            self.err.print(harmless(line), soft_wrap=True)

    def say_table(self, renderable: RenderableType) -> None:
        """A table beside the data, on stderr; nothing with `-q`."""
        if not self.quiet:
            _print_table(self.err, renderable)

    def detail(self, line: str) -> None:
        """One line of talk for `-v`."""
        if self.verbosity > 0:
            self.err.print(Text(harmless(line), style="dim"), soft_wrap=True)

    def warn(self, message: str) -> None:
        """Something that should be known even with `-q`."""
        self._labelled("Warning: ", "bold yellow", message)

    def error(self, message: str, hint: str = "") -> None:
        """Why the command ends, and what to do next."""
        self._labelled("Error: ", "bold red", message)
        if hint:
            self.err.print(harmless_lines(hint), soft_wrap=True)

    def _labelled(self, label: str, style: str, message: str) -> None:
        self.err.print(Text(label, style=style) + Text(harmless_lines(message)), soft_wrap=True)
