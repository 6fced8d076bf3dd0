"""Speculation: guesses of the next tokens, which one decode step verifies together with the next token."""

from __future__ import annotations

import math
from collections.abc import Sequence as Items

from engine.speculation.prompt_lookup import PromptLookup

MAX_DRAFT_TOKENS = 7  # per sequence and step
FIRST_CHANCE = 0.5  # that a guessed token is right, if nothing is known about the sequence
MIN_CHANCE = 0.15  # below it, nothing is guessed for the sequence
AGAIN_CHANCE = 0.3  # when the sequence is tried again
TOKENS_UNTIL_AGAIN = 256  # new tokens until then
WEIGHT = 1 / 8  # weight of one guess in the chance
MARGIN = 1.25  # by which a guess must be worth more than it costs


FEW_ROWS, MANY_ROWS = 2, 16  # rows of the two decode steps whose times give the cost of a row


def row_cost(few_seconds: float, many_seconds: float) -> float:
    """Return the time of one more row as a multiple of the time that does not depend on rows.

    Args:
        few_seconds: Time of a decode step of `FEW_ROWS` rows.
        many_seconds: Time of a decode step of `MANY_ROWS` rows.
    """
    per_row = max(many_seconds - few_seconds, 0.0) / (MANY_ROWS - FEW_ROWS)
    fixed = few_seconds - FEW_ROWS * per_row
    return per_row / fixed if fixed > 0 else math.inf


class Guesses:
    """The guesses for one sequence: where they come from, and how often they were right."""

    def __init__(self) -> None:
        self.chance = FIRST_CHANCE  # estimated chance that a guessed token is right
        self._lookup = PromptLookup()
        self._tried_again_at: int | None = None  # length of the sequence; None while guesses go on

    def next(self, tokens: Items[int], max_tokens: int, min_chance: float) -> tuple[int, ...]:
        """Return the guessed tokens that follow `tokens`, as long as each is right with more than `min_chance`."""
        if self._tried_again_at is not None:
            if len(tokens) < self._tried_again_at:
                return ()
            self._tried_again_at, self.chance = None, AGAIN_CHANCE
        count, chance = 0, self.chance
        while count < min(max_tokens, MAX_DRAFT_TOKENS) and chance > min_chance:
            count, chance = count + 1, chance * self.chance
        return self._lookup.following(tokens, count) if count else ()

    def learn(self, num_tokens: int, num_guessed: int, num_right: int) -> None:
        """Learn from a step that has verified guesses.

        Args:
            num_tokens: Length of the sequence after the step.
            num_guessed: Number of guessed tokens.
            num_right: How many of them were right, counted up to the first wrong one.
        """
        for _ in range(num_right):
            self.chance += (1 - self.chance) * WEIGHT
        if num_right < num_guessed:
            self.chance -= self.chance * WEIGHT
        if self.chance < MIN_CHANCE:
            self._tried_again_at = num_tokens + TOKENS_UNTIL_AGAIN


class Drafting:
    """Decides how many tokens to guess, by what a guess costs on this machine.

    A text often repeats what stands in its prompt or in its beginning. So the guess is what followed there
    (`engine.speculation.prompt_lookup`). A step samples after each guessed token as it would without guesses: a choice
    depends on logits, seed and position alone. Tokens are kept only as far as guess and choice agree, so no completion
    depends on guesses. Source: Daliri et al., arXiv 2408.07978.

    A step takes the time of reading the weights, and some time per row. One more row pays if its chance to be right
    exceeds the rows' share of the step's time. A full batch on a CPU spends most of its time on rows, so nothing is
    guessed for it. A step with guesses has at most `MANY_ROWS` rows, since no larger step was timed.

    Args:
        row_cost: Time of one more row in a decode step, as a multiple of the time that does not depend on rows.
    """

    def __init__(self, row_cost: float) -> None:
        self._row_cost = row_cost

    def pays(self, num_rows: int) -> bool:
        """Return True if a right guess would save time in a step of so many rows."""
        return num_rows < MANY_ROWS and MARGIN * self._share(num_rows) < 1

    def draft(self, guesses: Guesses, tokens: Items[int], num_rows: int, max_tokens: int) -> tuple[int, ...]:
        """Return guessed tokens that are worth verifying, at most `max_tokens`.

        Args:
            guesses: The sequence's guesses so far.
            tokens: The sequence's tokens.
            num_rows: Number of rows of the step without these guesses.
            max_tokens: Maximum number of tokens to return.
        """
        if not self.pays(num_rows):
            return ()
        max_guesses = min(max_tokens, MANY_ROWS - num_rows)
        return guesses.next(tokens, max_guesses, max(MIN_CHANCE, MARGIN * self._share(num_rows)))

    def _share(self, num_rows: int) -> float:
        """Return the share of a step's time that its rows take."""
        return 1 - 1 / (1 + self._row_cost * num_rows)
