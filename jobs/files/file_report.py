"""Result of the check of prompt files."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobs.errors import InvalidInput
from jobs.files.file_places import FilePlaces
from jobs.files.formats.features.thinking import ADVISED_BUDGET
from jobs.files.formats.fields import Notes
from jobs.records.job import Format

MAX_ENTRIES = 20
MAX_CHARS = 4000  # max characters of all entries together
_MAX_RANGES = 5  # max ranges of lines that an entry names

_TEMPLATE = "the template "  # how a fault of the template begins

_NO_JSON = "the line is not JSON: invalid character (byte 0)"  # the fault of most lines of plain text


class FileRefused(InvalidInput):
    """A prompt file has bad lines."""


@dataclass
class LineNumbers:
    """Numbers of lines in rising order, kept as ranges. It names the first ranges and counts the other lines.

    Args:
        places: Places of the lines. None if there is only one file.
    """

    places: FilePlaces | None = None
    count: int = 0
    _ranges: list[tuple[int, int]] = field(default_factory=list)  # first and last number of each range
    _last: int = 0

    def add(self, number: int) -> None:
        """Add the next number. A number that comes again counts once."""
        if number == self._last:
            return
        self.count += 1
        if self._ranges and self._last == number - 1 == self._ranges[-1][1] and self._same_file(number):
            self._ranges[-1] = (self._ranges[-1][0], number)
        elif len(self._ranges) < _MAX_RANGES:
            self._ranges.append((number, number))
        self._last = number

    def __str__(self) -> str:
        """Return a text such as `1-50, 73 and 8 more`. With several files: `1-50 of a.jsonl, 3 of b.csv`."""
        names = ", ".join(self._range_name(first, last) for first, last in self._ranges)
        more = self.count - sum(last - first + 1 for first, last in self._ranges)
        return f"{names} and {more:,} more" if more else names

    def _same_file(self, number: int) -> bool:
        """Return whether a line is in the file of the line before it."""
        return self.places is None or self.places.of(number)[1] > 1

    def _range_name(self, first: int, last: int) -> str:
        file = ""
        if self.places is not None:
            file = f" of {self.places.file_of(first)}"
            first, last = self.places.of(first)[1], self.places.of(last)[1]
        return (f"{first:,}" if first == last else f"{first:,}-{last:,}") + file


def _lines(count: int) -> str:
    return f"{count:,} {'line' if count == 1 else 'lines'}"


class BadLines:
    """Bad lines in order. Equal faults are one entry. It keeps `MAX_ENTRIES` entries, and the other lines' numbers.

    Args:
        places: Places of the lines. None if there is only one file.
    """

    def __init__(self, places: FilePlaces | None = None) -> None:
        self.count = 0
        self._places = places
        self._entries: dict[str, LineNumbers] = {}  # fault -> the lines that have it
        self._other = LineNumbers(places)  # lines with a fault that has no entry
        self._chars = 0

    def add(self, number: int, faults: str) -> None:
        """Add the next bad line with its faults, one per text line."""
        self.count += 1
        for fault in faults.split("\n"):
            entry = self._entries.get(fault)
            if entry is None and len(self._entries) < MAX_ENTRIES and self._chars + len(fault) <= MAX_CHARS:
                self._chars += len(fault)
                entry = self._entries[fault] = LineNumbers(self._places)
            (entry or self._other).add(number)

    def refuse_template(self, name: str) -> None:
        """Raise if all lines so far have one fault, which is the template's: it fails on the other lines, too.

        Args:
            name: The file's name for messages.

        Raises:
            FileRefused: The message says that the other lines were not read.
        """
        faults = list(self._entries)
        if len(faults) == 1 and not self._other.count and faults[0].startswith(_TEMPLATE):
            raise FileRefused(
                f"{name} cannot be submitted: the first {self.count:,} lines are invalid, and no others were read.\n"
                f"{self.describe()}",
                "Nothing was stored. Correct the template or the file.",
            )

    def describe(self) -> str:
        """Return a text with one entry per text line. The last line gives the numbers of lines without an entry."""
        lines = [
            f"  line{'s' if numbers.count > 1 else ''} {numbers}: {fault}" for fault, numbers in self._entries.items()
        ]
        if self._other.count:
            lines.append(f"  and other faults of {self._other.count:,} lines: {self._other}")
        return "\n".join(lines)


@dataclass(frozen=True)
class FileReport:
    """Result of the first pass over a prompt file, or over several files that become one job."""

    name: str  # the file's name for messages; of several files, the first one's name and their number
    format: Format
    num_lines: int  # number of lines that are not blank, including bad ones
    bad_lines: BadLines
    digest: str  # hash of the content, hexadecimal; with several files, of their names too
    notes: Notes = field(default_factory=Notes)
    num_files: int = 1
    column_types: bytes | None = None  # `NewJob.column_types`

    def notices(self) -> list[str]:
        """Return what the file's author should know, one sentence or two each: first the fields without effect."""
        notices = [
            f"`{name}` has no effect here: {_lines(count)}." for name, count in sorted(self.notes.ignored.items())
        ]
        notices += [
            f"A JSON schema asks for {names}, which is not enforced: {_lines(count)}."
            for names, count in sorted(self.notes.unenforced.items())
        ]
        notices += [
            f"The column `{name}` has no value, so the prompt has the word None in its place: {_lines(count)}. "
            f'{{{{ {name} or "" }}}} leaves it empty.'
            for name, count in sorted(self.notes.without_value.items())
        ]
        if count := self.notes.biased:
            notices.append(
                f"`logit_bias` of {_lines(count)} counts for this model's token ids, which are not those of GPT."
            )
        if count := self.notes.greedy_thoughts:
            notices.append(
                f"{_lines(count)} may think at temperature 0. Qwen advises against it: thoughts may repeat without end."
            )
        if count := self.notes.assistant_endings:
            notices.append(
                f"{_lines(count)} {'ends' if count == 1 else 'end'} with the assistant's message. "
                "--drop-last-assistant removes it, --continue-last-assistant goes on from it."
            )
        if count := self.notes.small_budgets:
            notices.append(
                f"The thinking budget of {_lines(count)} is small. Qwen advises at least {ADVISED_BUDGET:,} tokens."
            )
        return notices

    def require_valid(self, skip_invalid: bool) -> None:
        """Raise unless the file can be submitted.

        Args:
            skip_invalid: True to accept bad lines if there is at least one good line. Bad lines become `invalid_line`
                results.

        Raises:
            InvalidInput: The file has no line.
            FileRefused: The file has a bad line (with `skip_invalid`: no good line). The message lists the
                faults with the numbers of their lines.
        """
        bad = self.bad_lines.count
        if self.num_lines == 0:
            raise InvalidInput(
                f"{self.name} is empty.",
                "Give at least one row: one JSON object per line, or a row below the header of a table.",
            )
        if bad == 0 or (skip_invalid and bad < self.num_lines):
            return
        some = "the only line is" if self.num_lines == 1 else f"{bad:,} of {self.num_lines:,} lines are"
        faults = self.bad_lines.describe()
        hint = "Nothing was stored. Correct the file"
        if f": {_TEMPLATE}" in faults:
            hint = "Nothing was stored. Correct the template or the file"
        elif " --" in faults:  # it suggests an option
            hint = "Nothing was stored. Add what is suggested, or correct the file"
        if bad < self.num_lines:
            hint += ", or use --skip-invalid to run the valid lines and get an error result for each invalid line"
        elif _NO_JSON in faults:
            hint += ". If each line is a prompt, add --input-format text"
        raise FileRefused(f"{self.name} cannot be submitted: {some} invalid.\n{faults}", f"{hint}.")
