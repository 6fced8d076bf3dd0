"""The search for stop strings in text that grows token by token."""

from __future__ import annotations

from typing import Protocol


class TokenStream(Protocol):
    """Turns tokens into text one by one. Holds back a character until all of its bytes have come."""

    def push(self, token_id: int) -> str:
        """Add a token and return the text that it completes, which is often empty."""

    @property
    def is_complete(self) -> bool:
        """True if no character is incomplete."""


class StopStringFinder:
    """Detokenises one sequence and finds its first stop string.

    Args:
        stop: The stop strings.
        stream: Decodes the sequence's tokens.
        includes_stop: True if the text before the stop includes the stop string.
    """

    def __init__(self, stop: tuple[str, ...], stream: TokenStream, includes_stop: bool = False) -> None:
        self.found: str | None = None  # the stop string that ended the sequence
        self._stop = stop
        self._includes_stop = includes_stop
        self._stream = stream
        self._pieces: list[str] = []
        self._tail = ""  # the last characters before the newest piece in which a stop string can begin
        self._reach = max(map(len, stop)) - 1

    def push(self, token_id: int, searching: bool) -> str | None:
        """Add a token and search for a complete stop string.

        Args:
            token_id: The next token of the sequence.
            searching: False while `min_tokens` forbids a stop. A stop string that ends in this token's text is ignored.

        Returns:
            The sequence's text before the stop string, or None if none is complete. If several are complete, the one
            that begins first counts.
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
        """Find the first stop string that ends after the first `num_old` characters of `text`, and remember it.

        Returns its start, or its end if the text includes it. Returns None if there is none.
        """
        found = [(text.find(stop, max(0, num_old - len(stop) + 1)), stop) for stop in self._stop]
        start, stop = min(((start, stop) for start, stop in found if start >= 0), default=(None, None))
        self.found = stop
        if start is None or stop is None:
            return None
        return start + len(stop) if self._includes_stop else start
