"""Prompt lookup: guesses the continuation of a text from what followed the same tokens before."""

from __future__ import annotations

from collections.abc import Sequence as Items

MIN_MATCH, MAX_MATCH = 2, 8  # last tokens that must have stood before, and that are compared
MAX_PLACES = 16  # latest places that are compared


class PromptLookup:
    """Finds where the last tokens of one growing sequence stood before, in its prompt or in its completion."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, int], list[int]] = {}  # two neighbours -> indices of the tokens that followed
        self._num_indexed = 1  # tokens that have been looked at as the second of two neighbours

    def following(self, tokens: Items[int], count: int) -> tuple[int, ...]:
        """Return the `count` tokens that probably follow. Empty if the last two tokens never stood together before.

        The guess is what followed at the place where most of the last tokens agree; of equal places, the latest. A
        guess that reaches the end of the sequence goes on with its own beginning, as a text that repeats itself does.

        Args:
            tokens: The sequence. Since the last call, tokens may have been appended to it and nothing else.
            count: Number of tokens, at least 1.
        """
        self._index(tokens)
        start = self._best_place(tokens)
        if start is None:
            return ()
        guess: list[int] = []
        for index in range(start, start + count):
            guess.append(tokens[index] if index < len(tokens) else guess[index - len(tokens)])
        return tuple(guess)

    def _index(self, tokens: Items[int]) -> None:
        for index in range(self._num_indexed, len(tokens) - 1):
            self._places.setdefault((tokens[index - 1], tokens[index]), []).append(index + 1)
        self._num_indexed = max(self._num_indexed, len(tokens) - 1)

    def _best_place(self, tokens: Items[int]) -> int | None:
        if len(tokens) <= MIN_MATCH:
            return None
        best, longest = None, 0
        for place in reversed(self._places.get((tokens[-2], tokens[-1]), [])[-MAX_PLACES:]):
            length = _num_common(tokens, place)
            if length > longest:
                best, longest = place, length
            if longest == MAX_MATCH:
                break
        return best


def _num_common(tokens: Items[int], place: int) -> int:
    """Return how many tokens before `place` equal the last tokens, up to `MAX_MATCH`. The last two are known to."""
    limit = min(place, MAX_MATCH)
    length = MIN_MATCH
    while length < limit and tokens[place - 1 - length] == tokens[-1 - length]:
        length += 1
    return length
