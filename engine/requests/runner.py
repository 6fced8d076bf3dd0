"""The interface through which the engine runs the model."""

from __future__ import annotations

from typing import Protocol

from engine.scheduling.batch import Batch


class Runner(Protocol):
    """Runs one step at a time, on the engine thread."""

    def run(self, batch: Batch) -> list[int]:
        """Feed the batch's tokens to the model and sample.

        Returns the next token id of each sequence in `batch.sampling`, in that order. It does not change the sequences.
        Any error that it raises ends the engine.
        """
