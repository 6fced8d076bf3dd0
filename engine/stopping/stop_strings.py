"""Finding stop strings in text that grows token by token."""

from __future__ import annotations

from typing import Protocol


class TokenStream(Protocol):
    """Turns tokens into text as they come; holds back characters whose bytes are not complete yet."""

    def push(self, token_id: int) -> str:
        """The text that this token completes; often empty."""


class StopStringFinder:
    """Detokenises one sequence and finds the first of its stop strings."""

    def __init__(self, stop: tuple[str, ...], stream: TokenStream) -> None:
        self._stop = stop
        self._stream = stream
        self._pieces: list[str] = []
        self._tail = ""  # the last characters before the newest piece: as many as a stop string can reach back
        self._reach = max(map(len, stop)) - 1

    def push(self, token_id: int, searching: bool) -> str | None:
        """Add a token.

        Args:
            token_id: The next token of the sequence.
            searching: False while `min_tokens` bars stops: a string that ends in this token's text is let pass.

        Returns:
            The sequence's text before the stop string, once one is complete; where several are, the one that begins
            first. None otherwise.
        """
        piece = self._stream.push(token_id)
        if not piece:
            return None
        text = self._tail + piece
        cut = self._find(text, len(self._tail)) if searching else None
        if cut is not None:
            whole = "".join(self._pieces) + piece
            return whole[: len(whole) - (len(text) - cut)]
        self._pieces.append(piece)
        self._tail = text[-self._reach :] if self._reach else ""
        return None

    def _find(self, text: str, num_old: int) -> int | None:
        """Where the first stop string begins that ends after the first `num_old` characters of `text`."""
        found = [text.find(stop, max(0, num_old - len(stop) + 1)) for stop in self._stop]
        return min((start for start in found if start >= 0), default=None)
