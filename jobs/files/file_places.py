"""Name the lines of several files: the numbers of a job's lines run on, but a person counts in each file anew."""

from __future__ import annotations

from bisect import bisect_left

MAX_NAME_CHARS = 60  # longer names are cut in messages about lines


class FilePlaces:
    """Files in the order of their lines. The last line of a file has the number that the next file starts after."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._starts: list[int] = []  # per file: number of the last line before it

    def begin(self, name: str, start: int) -> None:
        """Add the next file, whose first line has the number `start + 1`."""
        self._names.append(name)
        self._starts.append(start)

    def of(self, number: int) -> tuple[str, int]:
        """Return a line's file and its number in this file, from 1."""
        index = bisect_left(self._starts, number) - 1
        return self._names[index], number - self._starts[index]

    def file_of(self, number: int) -> str:
        """Return a line's file as messages show it: a long name loses its beginning."""
        name, _ = self.of(number)
        return name if len(name) <= MAX_NAME_CHARS else f"…{name[1 - MAX_NAME_CHARS :]}"
