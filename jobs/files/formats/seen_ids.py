"""Which line had which id, in 32 to 64 bytes a line whatever the length of the ids."""

from __future__ import annotations

from array import array

_HASH_BITS = 2**64 - 1


class SeenIds:
    """A hash table from ids to line numbers that keeps a 64-bit hash instead of the id.

    Two different ids pass for the same with a probability of n² / 2^65 among n ids: 3e-8 for a million. Open
    addressing with linear probing in two arrays, from a quarter to half full.
    """

    def __init__(self) -> None:
        self._count = 0
        self._allocate(1024)

    def add(self, id: str, line: int) -> int | None:
        """Note an id. Returns the line that had it before, if one had."""
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
        if self._count * 2 > mask:
            self._grow()
        return None

    def copy(self) -> SeenIds:
        """The same, to be added to on its own."""
        other = SeenIds()
        other._count, other._mask = self._count, self._mask
        other._keys, other._lines = self._keys[:], self._lines[:]
        return other

    def _allocate(self, size: int) -> None:
        self._mask = size - 1
        self._keys = array("Q", bytes(8 * size))
        self._lines = array("Q", bytes(8 * size))

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
