"""A queue of sequences, ordered by priority."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator

from engine.scheduling.policy import Priority
from engine.scheduling.sequence import Sequence


def _key(sequence: Sequence) -> Priority:
    return sequence.priority


class SequenceQueue:
    """A sorted list of sequences. The first one is served first."""

    def __init__(self) -> None:
        self._sequences: list[Sequence] = []
        self.flows: Counter[str] = Counter()  # number of sequences per flow; a flow without any has no entry

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._sequences)

    @property
    def num_urgent(self) -> int:
        """Number of urgent sequences. They are the first ones."""
        return bisect_left(self._sequences, True, key=lambda sequence: not sequence.urgent)

    def __getitem__(self, index: int) -> Sequence:
        return self._sequences[index]

    def __contains__(self, sequence: Sequence) -> bool:
        index = bisect_left(self._sequences, sequence.priority, key=_key)
        return index < len(self._sequences) and self._sequences[index] is sequence

    def add(self, sequence: Sequence) -> None:
        """Insert a sequence by its priority."""
        insort(self._sequences, sequence, key=_key)
        self.flows[sequence.flow] += 1

    def remove(self, sequence: Sequence) -> None:
        """Remove a sequence. Raises `KeyError` if it is not in the queue."""
        if sequence not in self:
            raise KeyError(sequence.priority)
        del self._sequences[bisect_left(self._sequences, sequence.priority, key=_key)]
        self._leave((sequence,))

    def _leave(self, sequences: Iterable[Sequence]) -> None:
        for sequence in sequences:
            self.flows[sequence.flow] -= 1
            if not self.flows[sequence.flow]:
                del self.flows[sequence.flow]
