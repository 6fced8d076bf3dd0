"""Sequences in the order of their priority."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from engine.policy import Priority
from engine.sequence import Sequence


def _key(sequence: Sequence) -> Priority:
    return sequence.priority


class SequenceQueue:
    """A sorted list: the sequence to serve first stands first. Every operation is a binary search and a move."""

    def __init__(self) -> None:
        self._sequences: list[Sequence] = []

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._sequences)

    def __getitem__(self, index: int) -> Sequence:
        return self._sequences[index]

    def __contains__(self, sequence: Sequence) -> bool:
        index = bisect_left(self._sequences, sequence.priority, key=_key)
        return index < len(self._sequences) and self._sequences[index] is sequence

    def add(self, sequence: Sequence) -> None:
        insort(self._sequences, sequence, key=_key)

    def remove(self, sequence: Sequence) -> None:
        """Raises `KeyError` if it is not here."""
        if sequence not in self:
            raise KeyError(sequence.priority)
        del self._sequences[bisect_left(self._sequences, sequence.priority, key=_key)]

    def take_first(self, count: int) -> list[Sequence]:
        """Remove and return the first `count` sequences."""
        taken = self._sequences[:count]
        del self._sequences[:count]
        return taken

    def take_last(self) -> Sequence:
        """Remove and return the sequence that is served last."""
        return self._sequences.pop()
