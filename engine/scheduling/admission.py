"""Admission: choosing the waiting sequences that enter the batch before a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.sequence import Sequence
from engine.scheduling.sequence_queue import SequenceQueue


class Admission:
    """Admits sequences in queue order, with one exception for newcomers.

    A newcomer is a flow with no running sequence. Its sequences may enter a full batch
    (`SchedulingPolicy.newcomer_places`).

    Args:
        page_allocator: Allocates the cache's pages.
        policy: Limits and thresholds. Admission stops once the chosen prompts reach `policy.max_batched_tokens`.
    """

    def __init__(self, page_allocator: PageAllocator, policy: SchedulingPolicy) -> None:
        self._page_allocator = page_allocator
        self._policy = policy
        self.short_of_pages = False  # True if the last `choose` left a sequence out for lack of pages

    def choose(self, waiting: SequenceQueue, running: Iterable[SequenceQueue]) -> list[Sequence]:
        """Return the sequences that enter now. Enough pages are free for all of them.

        The list is empty if a prefill would not be worthwhile (`SchedulingPolicy.prefill_is_worthwhile`).
        """
        queues = tuple(running)
        num_running = sum(map(len, queues))
        newcomers = {flow for flow in waiting.flows if not any(flow in queue.flows for queue in queues)}
        limit = self._policy.max_running if newcomers else self._policy.max_num_seqs
        chosen: list[Sequence] = []
        entering: Counter[str] = Counter()
        reserved = tokens = 0
        self.short_of_pages = False
        for sequence in waiting:
            running_then = num_running + len(chosen)
            if tokens >= self._policy.max_batched_tokens or running_then >= limit:
                break
            if running_then >= self._policy.max_num_seqs and not self._may_exceed(sequence.flow, newcomers, entering):
                continue
            if not self._has_pages_for(sequence, reserved, running_then):
                self.short_of_pages = True
                break
            chosen.append(sequence)
            entering[sequence.flow] += 1
            reserved += self._page_allocator.pages_for(len(sequence.tokens))
            tokens += sequence.num_prompt_tokens
        somebody_new = num_running > 0 and not newcomers.isdisjoint(entering)
        if somebody_new or self._policy.prefill_is_worthwhile(tokens, num_running):
            return chosen
        return []

    def _has_pages_for(self, sequence: Sequence, num_reserved: int, num_running: int) -> bool:
        """Return True if enough pages are free for the sequence's known tokens.

        One extra page per running sequence must stay free. Otherwise the new sequence might be pre-empted a few steps
        later.

        Args:
            sequence: A waiting sequence.
            num_reserved: Pages promised to other sequences that enter in this step.
            num_running: Sequences that already run or enter before this one.
        """
        free = self._page_allocator.num_free - num_reserved - num_running
        return free >= self._page_allocator.pages_for(len(sequence.tokens))

    def _may_exceed(self, flow: str, newcomers: set[str], entering: Counter[str]) -> bool:
        """Return True if a newcomer's sequence may enter a full batch.

        A flow that already enters with many sequences in this step no longer counts as a newcomer.
        """
        return flow in newcomers and entering[flow] < self._policy.newcomer_places
