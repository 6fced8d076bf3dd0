"""Decode steps in which a sequence feeds several tokens: those that are known, and those that are guessed."""

from __future__ import annotations

from collections.abc import Sequence as Items

from engine.scheduling.batch import Batch
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.sequence import Sequence
from engine.speculation.drafting import Drafting


class DecodeRows:
    """Decides how many tokens each sequence feeds in a decode step.

    Every sequence feeds one token. Places that are left go to known tokens first: those of a sequence that was
    pre-empted and those that must follow. Each known token has to go through a decode step anyway, and several in one
    step read the weights only once. Then come the further tokens of choices that are scored. Guessed tokens get the
    places that are left.

    Args:
        page_allocator: Allocates the cache's pages.
        drafting: Guesses next tokens. None: no token is guessed.
    """

    def __init__(self, page_allocator: PageAllocator, drafting: Drafting | None) -> None:
        self._page_allocator = page_allocator
        self._drafting = drafting

    def batch(self, sequences: Items[Sequence], max_rows: int) -> Batch:
        """Return a decode step.

        Args:
            sequences: Sequences that have a page for their next token, in priority order.
            max_rows: Maximum number of tokens of the step, at least the number of sequences.
        """
        left = max_rows - len(sequences)
        counts = []
        for sequence in sequences:
            count = len(sequence.tokens) - sequence.num_computed  # known tokens that no step has fed
            if count == 1:
                counts.append(1)
                continue
            count = min(count, 1 + left)
            if count > 1 and not self._page_allocator.reserve(sequence.page_table, sequence.num_computed + count):
                count = 1
            left -= count - 1
            counts.append(count)
        left = self._foresee(sequences, counts, left)
        if self._drafting is not None:
            self._draft(self._drafting, sequences, counts, left)
        return Batch.decode(sequences, counts)

    def _draft(self, drafting: Drafting, sequences: Items[Sequence], counts: list[int], left: int) -> None:
        """Give guessed tokens to the sequences whose known tokens are all in this step, and count them in `counts`.

        A guess takes no page that a running sequence may need for its next token. Constrained sequences get none,
        because their masks are computed before the step.
        """
        num_rows = sum(counts)
        for index, sequence in enumerate(sequences):
            if not drafting.pays(num_rows):
                return
            if counts[index] != sequence.num_pending or sequence.stop_checker.constraint is not None:
                continue
            if sequence.ticket.request.scoring is not None:
                continue
            room = min(left, sequence.num_left - 1)
            draft = drafting.draft(sequence.guesses, sequence.tokens, num_rows, room)
            if not self._give(sequence, draft, len(sequences)):
                continue
            counts[index] += len(draft)
            num_rows += len(draft)
            left -= len(draft)

    def _foresee(self, sequences: Items[Sequence], counts: list[int], left: int) -> int:
        """Give the sequences that are scored their further tokens, and count these in `counts`.

        They travel as guesses, because each of them needs logits of its own. They are always right.

        Returns:
            The number of places that are left.
        """
        for index, sequence in enumerate(sequences):
            scoring = sequence.ticket.request.scoring
            if scoring is None or counts[index] != sequence.num_pending:
                continue
            further = scoring.ids[sequence.num_generated : sequence.num_generated + min(left, sequence.num_left - 1)]
            if self._give(sequence, tuple(ids[0] for ids in further), len(sequences)):
                counts[index] += len(further)
                left -= len(further)
        return left

    def _give(self, sequence: Sequence, draft: tuple[int, ...], num_running: int) -> bool:
        """Give a sequence a draft and pages for it. Returns False if the draft is empty, or if pages are short."""
        length = len(sequence.tokens) + len(draft)
        missing = self._page_allocator.pages_for(length) - len(sequence.page_table)
        if not draft or (missing > 0 and missing > self._page_allocator.num_free - num_running):
            return False
        self._page_allocator.reserve(sequence.page_table, length)
        sequence.draft = draft
        return True
