"""Map ids to line numbers, in 24 to 48 bytes per line for ids of any length."""

from __future__ import annotations

from array import array

_HASH_BITS = 2**64 - 1
MAX_NUMBER_DIGITS = 12  # an id with this many digits or more is not taken for a line number

BEFORE = 0  # line number for a line of the job that is not in the file


class SeenIds:
    """A hash table from ids to line numbers. It stores a 64-bit hash instead of the id.

    Among n ids, two different ones have the same hash with probability n² / 2^65; that is 3e-8 for a million ids. The
    table uses open addressing with linear probing in two arrays, which are a quarter to a half full.

    Lines without an id have their number as id. As long as no line has its own id, they take one byte per line.
    """

    def __init__(self) -> None:
        self._count = 0
        self._numbered = bytearray()  # 1 at the place of each line whose id is its number plus `_number_offset`
        self._number_offset = 0
        self._allocate(1024)

    def add(self, id: str, line: int) -> int | None:
        """Add an id. If it is known already, returns the number of its first line, and changes nothing."""
        if self._numbered and (numbered := self._numbered_line(id)) is not None:
            return numbered
        key = hash(id) & _HASH_BITS or 1  # 0 marks a free place
        keys, mask = self._keys, self._mask
        place = key & mask
        while found := keys[place]:
            if found == key:
                return self._lines[place]
            place = (place + 1) & mask
        keys[place] = key
        self._lines[place] = line
        self._count += 1
        if 2 * self._count > mask:
            self._grow()
        return None

    def add_number(self, number: int, line: int) -> int | None:
        """Add the id of a line that has none: a number. Returns the same as `add`.

        Args:
            number: The number. The difference to `line` is the same for all lines.
            line: The line's number, which rises from call to call.
        """
        if self._count:
            return self.add(str(number), line)
        self._number_offset = number - line
        if len(self._numbered) < line:
            self._numbered.extend(bytes(line - len(self._numbered)))
        self._numbered.append(1)
        return None

    def _numbered_line(self, id: str) -> int | None:
        """Return the line without its own id that has this id, or None."""
        if not (id.isascii() and id.isdecimal()) or id[0] == "0" or len(id) > MAX_NUMBER_DIGITS:
            return None
        line = int(id) - self._number_offset
        return line if 0 < line < len(self._numbered) and self._numbered[line] else None

    def copy(self) -> SeenIds:
        """Return an independent copy."""
        other = SeenIds()
        other._count, other._mask = self._count, self._mask
        other._keys, other._lines = self._keys[:], self._lines[:]
        other._numbered, other._number_offset = self._numbered[:], self._number_offset
        return other

    def _allocate(self, size: int) -> None:
        self._mask = size - 1
        self._keys = array("Q", bytes(8 * size))
        self._lines = array("I", bytes(4 * size))

    def _grow(self) -> None:
        keys, lines = self._keys, self._lines
        self._allocate(2 * len(keys))
        for key, line in zip(keys, lines, strict=True):
            if key:
                place = key & self._mask
                while self._keys[place]:
                    place = (place + 1) & self._mask
                self._keys[place] = key
                self._lines[place] = line


class LinesBefore:
    """Ids of a job's existing lines, needed when lines are added to the job."""

    def __init__(self) -> None:
        self.ids = SeenIds()
        self.highest_number = 0  # highest id that is a number; new lines without an id count on from it

    def add(self, id: str) -> None:
        """Add the id of an existing line."""
        self.ids.add(id, BEFORE)
        if id.isascii() and id.isdecimal() and len(id) < MAX_NUMBER_DIGITS:
            self.highest_number = max(self.highest_number, int(id))
