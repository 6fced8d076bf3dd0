"""The interfaces through which the engine runs the model and turns ids into text."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import Protocol

from engine.scheduling.batch import Batch, Outcome
from engine.stopping.stop_strings import TokenStream


class Runner(Protocol):
    """Runs one step at a time, on the engine thread."""

    def run(self, batch: Batch) -> Items[Outcome]:
        """Feed the batch's tokens to the model and sample.

        Returns one outcome per entry of `batch.sampling`, in that order. It does not change the sequences.
        Any error that it raises ends the engine.
        """


class Detokenizer(Protocol):
    """Turns ids into text, for finished requests and for stop strings. Implementations are thread-safe.

    `model.text.tokenizer.Tokenizer` implements this interface.
    """

    @property
    def vocab_size(self) -> int:
        """Number of ids that have a text. Ids start at 0."""

    def decode(self, token_ids: Items[int], skip_special_tokens: bool = True, /) -> str:
        """Return the text of tokens, with or without special tokens. The text is always valid Unicode."""

    def stream(self, skip_special_tokens: bool = True, /) -> TokenStream:
        """Return a new stream for the tokens of one sequence."""

    def token_bytes(self, token_id: int, /) -> bytes:
        """Return the bytes of one token, special or not. They may be a part of a character."""
