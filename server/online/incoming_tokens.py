"""The tokens of one completion that arrive with the pieces of its text, and their log-probabilities."""

from __future__ import annotations

from collections import deque
from functools import reduce
from typing import NamedTuple

from jobs.online.messages import PieceTokens
from jobs.records.completion import Logprobs
from server.online.incoming_text import TextDiffers, TextMissing


class _Token(NamedTuple):
    """A token that was not handed out yet."""

    start: int  # characters of the text before the token's own text
    logprobs: Logprobs  # of this token alone


class IncomingTokens:
    """The tokens of one completion. Each is handed out with the text in which its own text begins.

    A later attempt sends the tokens again from the first one. Those that were handed out are compared and skipped.
    """

    def __init__(self) -> None:
        self._old: list[bytes] = []  # ids of the tokens that were handed out: int32, little-endian
        self._new: deque[_Token] = deque()  # the tokens behind them

    def add(self, tokens: PieceTokens) -> None:
        """Add the tokens of a piece.

        Raises:
            TextDiffers: A token contradicts what was handed out.
            TextMissing: There is a gap before the tokens.
        """
        num_old = len(self._old)
        if tokens.first > num_old + len(self._new):
            raise TextMissing
        if tokens.first < num_old:
            self._compare(tokens.first, tokens.logprobs)
        for place, (start, logprobs) in enumerate(
            zip(tokens.starts, tokens.logprobs.each_token(), strict=True), tokens.first - num_old
        ):
            if place < 0:
                continue
            if place < len(self._new):
                if self._new[place].logprobs.token_ids == logprobs.token_ids:
                    continue  # known already, and so may be what follows
                while len(self._new) > place:
                    self._new.pop()
            self._new.append(_Token(start, logprobs))

    def finish(self, whole: Logprobs) -> None:
        """Compare the tokens with those of the result. Raises `TextDiffers` if they contradict what was handed out."""
        if whole.num_tokens < len(self._old):
            raise TextDiffers
        self._compare(0, whole)
        ids = [whole.token_ids[4 * place : 4 * place + 4] for place in range(len(self._old), whole.num_tokens)]
        known = [token.logprobs.token_ids for token in self._new]
        if known != ids[: len(known)]:
            self._new.clear()  # the end of the answer has them

    def take(self, num_chars: int) -> Logprobs | None:
        """Hand out the tokens that begin in the first `num_chars` characters of the text. None if there are none."""
        taken: list[Logprobs] = []
        while self._new and self._new[0].start < num_chars:
            taken.append(self._new.popleft().logprobs)
            self._old.append(taken[-1].token_ids)
        return reduce(Logprobs.then, taken) if taken else None

    def _compare(self, first: int, logprobs: Logprobs) -> None:
        """Compare tokens, of which the first one has the place `first`, with those that were handed out."""
        old = b"".join(self._old[first : first + logprobs.num_tokens])
        if not logprobs.token_ids.startswith(old):
            raise TextDiffers
