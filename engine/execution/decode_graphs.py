"""Decode steps recorded once and replayed, so that a GPU gets a step in one launch instead of hundreds.

A recording has one shape and reads and writes the memory it was recorded with. So there is one for each of some
numbers of sequences; a step runs in the smallest that holds it, filled up with sequences on the sink page.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

Step = Callable[[], torch.Tensor]  # runs on static inputs, returns hidden states [size, hidden_size]


@dataclass(frozen=True)
class RecordedStep:
    """A step on the device, and where its result comes to lie."""

    replay: Callable[[], None]
    hidden: torch.Tensor  # [size, hidden_size], overwritten by every replay


Record = Callable[[Step], RecordedStep]


def ladder(max_num_seqs: int) -> tuple[int, ...]:
    """Numbers of sequences to record: small steps nearly double, larger ones waste at most 7 rows.

    None has one sequence: a step has at least two rows (`model.attention_metadata`).
    """
    sizes = {2, 4, *range(8, max_num_seqs, 8), max_num_seqs}
    return tuple(sorted(size for size in sizes if 2 <= size <= max(2, max_num_seqs)))


class DecodeGraphs:
    """The recorded steps of one model and cache. Without any, every step runs as it is."""

    def __init__(self, recorded: dict[int, RecordedStep] | None = None) -> None:
        self._recorded = recorded or {}
        self._sizes = sorted(self._recorded)

    @classmethod
    def of(cls, sizes: Iterable[int], step_of: Callable[[int], Step], record: Record) -> DecodeGraphs:
        """Record a step of each size, the largest first: smaller ones find room in the memory that it needed.

        Args:
            sizes: Numbers of sequences.
            step_of: Makes the step of a size, over inputs that lie where those of later steps will.
            record: Runs a step and keeps what the device did.
        """
        return cls({size: record(step_of(size)) for size in sorted(sizes, reverse=True)})

    def size_for(self, num_seqs: int) -> int | None:
        """The smallest recorded size that holds so many sequences; None if there is none."""
        place = bisect_left(self._sizes, num_seqs)
        return self._sizes[place] if place < len(self._sizes) else None

    def replay(self, size: int) -> torch.Tensor:
        """Run the step of a recorded size on what its inputs hold now.

        Returns:
            [size, hidden_size], valid until the next replay.
        """
        step = self._recorded[size]
        step.replay()
        return step.hidden
