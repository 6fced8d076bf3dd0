"""The tokens of an answer that grows, with their log-probabilities, until their text is certain."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import takewhile
from typing import NamedTuple

from engine.request import AnswerLogprobs, TokenLogprobs
from engine.requests.answer_logprobs import named_bytes
from jobs.online.messages import PieceTokens
from worker.shards.likelihoods.packed_logprobs import packed


class _Token(NamedTuple):
    """A token whose text is not shown yet."""

    id: int
    start: int  # characters of the answer before the token's text
    logprobs: TokenLogprobs


class AnswerTokens:
    """Keeps the tokens of one answer in their order, and gives each to the first piece that shows a part of its text.

    A token without a text, such as the first half of a character, has the place of the text that follows the token.
    All tokens that were taken are the beginning of the list in the answer's result (`answer_logprobs`).

    Args:
        token_bytes: Returns the bytes of a token.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._waiting: deque[_Token] = deque()
        self._num_chars = 0  # characters of all tokens so far
        self._num_shown = 0  # characters of all pieces so far
        self._num_taken = 0

    def add(self, token_id: int, logprobs: TokenLogprobs, text: str) -> None:
        """Add the answer's next token, which completes `text`."""
        self._waiting.append(_Token(token_id, self._num_chars, logprobs))
        self._num_chars += len(text)

    def take(self, num_chars: int) -> PieceTokens | None:
        """Return the tokens of the next piece of text, which has `num_chars` characters. None if it has none."""
        self._num_shown += num_chars
        taken = list(takewhile(lambda token: token.start < self._num_shown, self._waiting))
        if not taken:
            return None
        for _ in taken:
            self._waiting.popleft()
        first = self._num_taken
        self._num_taken += len(taken)
        ids, places = tuple(token.id for token in taken), tuple(token.logprobs for token in taken)
        found = AnswerLogprobs(ids, places, named_bytes(ids, places, self._token_bytes), ended_by_token=False)
        return PieceTokens(first, tuple(token.start for token in taken), packed(found))
