"""Displays of a job's progress: a bar, plain lines, JSON lines or nothing."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.progress import BarColumn, Progress, TextColumn

from cli.console.console import Console
from cli.console.job_update import JobUpdate
from jobs.harmless import harmless


class Display(Protocol):
    """A context manager that receives every update of a job, including the last one.

    `shows_workers` is False if the display ignores the workers' reports. The caller then need not fetch the reports.
    """

    shows_workers: bool

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, update: JobUpdate) -> None:
        """Show the job's current state."""


class _Plain:
    """Base of displays that hold no resource."""

    shows_workers = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


_ROOM_FOR_CTRL_C = 2  # columns: a terminal shows `^C` there. On the next line, it would leave the bar behind


class _BarLine(Progress):
    """A bar that leaves the last columns of the terminal free."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield _Narrower(self.make_tasks_table(self.tasks))


class _Narrower:
    def __init__(self, line: RenderableType) -> None:
        self._line = line

    def __rich_console__(self, console: RichConsole, options: ConsoleOptions) -> RenderResult:
        yield Constrain(self._line, options.max_width - _ROOM_FOR_CTRL_C)


class BarDisplay:
    """A progress bar on one line of a terminal."""

    shows_workers = True

    def __init__(self, console: Console) -> None:
        self._progress = _BarLine(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[movement]}", markup=False),
            console=console.err,
            expand=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=None, movement="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, update: JobUpdate) -> None:
        self._progress.update(
            self._task,
            description=harmless(update.headline),
            total=update.total,
            completed=update.done,
            movement=update.movement,
        )


class LineDisplay(_Plain):
    """For log files: a plain line whenever the state changes, and at least every `interval_seconds`."""

    def __init__(
        self, console: Console, interval_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._last: tuple[str, float] | None = None  # headline and time of the last line

    def show(self, update: JobUpdate) -> None:
        now = self._clock()
        if self._last is None or update.headline != self._last[0] or now - self._last[1] >= self._interval_seconds:
            self._console.say(f"{update.headline}: {update.movement}")
            self._last = (update.headline, now)


class NotebookDisplay(_Plain):
    """A progress bar in a notebook: one output that changes."""

    def __init__(self) -> None:
        from IPython.display import display

        self._handle: Any = display(self._bundle("", ""), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def show(self, update: JobUpdate) -> None:
        text = f"{update.headline}: {update.movement}"
        bar = f'<progress value="{update.done}" max="{max(update.total, 1)}"></progress> '
        self._handle.update(self._bundle(harmless(text), bar), raw=True)

    def _bundle(self, text: str, bar: str) -> dict[str, str]:
        return {"text/plain": text, "text/html": bar + html.escape(text)}


class JsonDisplay(_Plain):
    """One JSON line on stdout for each change of the job."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: JobUpdate | None = None

    def show(self, update: JobUpdate) -> None:
        if update != self._last:
            self._console.json(update)
            self._last = update


class NoDisplay(_Plain):
    """A display for `-q`, which shows nothing."""

    shows_workers = False

    def show(self, update: JobUpdate) -> None:
        """Show nothing."""


def display_for(console: Console, as_json: bool = False) -> Display:
    """Return the display that suits the streams and options."""
    if as_json:
        return JsonDisplay(console)
    if console.quiet:
        return NoDisplay()
    if console.err.is_jupyter:
        return NotebookDisplay()
    return BarDisplay(console) if console.err.is_terminal else LineDisplay(console)
