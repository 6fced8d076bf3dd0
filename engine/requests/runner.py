"""What the engine needs of the thing that computes."""

from __future__ import annotations

from typing import Protocol

from engine.scheduling.batch import Batch


class Runner(Protocol):
    """Runs one step at a time, on the engine thread."""

    def run(self, batch: Batch) -> list[int]:
        """Feed the batch's tokens and sample.

        Returns the next token id of each sequence in `batch.sampling`, in that order. The sequences are read, not
        changed. Whatever this raises ends the engine.
        """
