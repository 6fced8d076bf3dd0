"""The interface through which the engine turns ids into text."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import Protocol

from engine.stopping.stop_strings import TokenStream


class Detokenizer(Protocol):
    """Turns ids into text, for finished requests and for stop strings. Implementations are thread-safe.

    `model.text.tokenizer.Tokenizer` is one.
    """

    @property
    def vocab_size(self) -> int:
        """Number of ids that have a text. Ids start at 0."""

    def decode(self, token_ids: Items[int], /) -> str:
        """Return the text of tokens without special tokens. The text is always valid Unicode."""

    def stream(self) -> TokenStream:
        """Return a new stream for the tokens of one sequence."""
