"""Admission: choosing the waiting sequences that enter the batch before a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from engine.scheduling import policy
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.sequence import Sequence
from engine.scheduling.sequence_queue import SequenceQueue


class Admission:
    """Admits sequences in queue order, with one exception for newcomers.

    A newcomer is a flow with no running sequence. Its sequences may enter a full batch (`policy.newcomer_places`).

    Args:
        page_allocator: Allocates the cache's pages.
        max_num_seqs: Maximum sequences of a batch, without newcomers.
        max_batched_tokens: Prompt tokens per prefill step. Admission stops once the chosen prompts reach it.
    """

    def __init__(self, page_allocator: PageAllocator, max_num_seqs: int, max_batched_tokens: int) -> None:
        self._page_allocator = page_allocator
        self._max_num_seqs = max_num_seqs
        self._max_batched_tokens = max_batched_tokens
        self.short_of_pages = False  # True if the last `choose` left a sequence out for lack of pages
        self._newcomer_places = policy.newcomer_places(max_num_seqs)

    def choose(self, waiting: SequenceQueue, running: Iterable[SequenceQueue]) -> list[Sequence]:
        """Return the sequences that enter now. Enough pages are free for all of them.

        The list is empty if a prefill would not be worthwhile (`policy.prefill_is_worthwhile`).
        """
        queues = tuple(running)
        num_running = sum(map(len, queues))
        newcomers = {flow for flow in waiting.flows if not any(flow in queue.flows for queue in queues)}
        chosen: list[Sequence] = []
        entering: Counter[str] = Counter()
        reserved = tokens = 0
        self.short_of_pages = False
        for sequence in waiting:
            running_then = num_running + len(chosen)
            if tokens >= self._max_batched_tokens or running_then >= self._limit(newcomers):
                break
            if running_then >= self._max_num_seqs and not self._may_exceed(sequence.flow, newcomers, entering):
                continue
            if not policy.may_enter(self._page_allocator, len(sequence.tokens), reserved, running_then):
                self.short_of_pages = True
                break
            chosen.append(sequence)
            entering[sequence.flow] += 1
            reserved += self._page_allocator.pages_for(len(sequence.tokens))
            tokens += sequence.num_prompt_tokens
        somebody_new = num_running > 0 and not newcomers.isdisjoint(entering)
        if somebody_new or policy.prefill_is_worthwhile(tokens, num_running, self._max_num_seqs):
            return chosen
        return []

    def _limit(self, newcomers: set[str]) -> int:
        return policy.max_running(self._max_num_seqs) if newcomers else self._max_num_seqs

    def _may_exceed(self, flow: str, newcomers: set[str], entering: Counter[str]) -> bool:
        """Return True if a newcomer's sequence may enter a full batch.

        A flow that already enters with many sequences in this step no longer counts as a newcomer.
        """
        return flow in newcomers and entering[flow] < self._newcomer_places
