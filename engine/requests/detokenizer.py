"""What the engine needs of a tokenizer: ids to text, for requests that have ended or that have stop strings."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import Protocol

from engine.stopping.stop_strings import TokenStream


class Detokenizer(Protocol):
    """Thread-safe. `model.text.tokenizer.Tokenizer` is one."""

    @property
    def vocab_size(self) -> int:
        """Ids from 0 that have a text."""

    def decode(self, token_ids: Items[int], /) -> str:
        """The text of tokens, special tokens skipped, always valid Unicode."""

    def stream(self) -> TokenStream:
        """A new stream for the tokens of one sequence."""
