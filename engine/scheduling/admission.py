"""Admission: choosing the waiting sequences that enter the batch before a step."""

from __future__ import annotations

from collections import Counter

from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.prefix_cache import Match, PrefixCache
from engine.scheduling.sequence import Sequence
from engine.scheduling.sequence_queue import SequenceQueue


class Admission:
    """Admits sequences in queue order, with one exception for newcomers.

    A newcomer is a flow with no running sequence. Its sequences may enter a full batch
    (`SchedulingPolicy.newcomer_places`).

    One prompt enters first if several have the same beginning. The others wait until the cache has that beginning.
    They do not hold up the sequences behind them.

    Args:
        page_allocator: Allocates the cache's pages.
        prefix_cache: Knows the parts of prompts that need not be computed.
        policy: Limits and thresholds. Admission stops once `policy.max_batched_tokens` are to be computed.
    """

    def __init__(self, page_allocator: PageAllocator, prefix_cache: PrefixCache, policy: SchedulingPolicy) -> None:
        self._page_allocator = page_allocator
        self._prefix_cache = prefix_cache
        self._policy = policy
        self.short_of_pages = False  # True if the last `choose` left a sequence out for lack of pages

    def choose(
        self, waiting: SequenceQueue, prefilling: SequenceQueue, decoding: SequenceQueue
    ) -> list[tuple[Sequence, Match]]:
        """Return the sequences that enter now, each with the part of its prompt that is in the cache.

        Enough pages are free for all of them. The list is empty if a prefill would not be worthwhile
        (`SchedulingPolicy.prefill_is_worthwhile`).
        """
        queues = (prefilling, decoding)
        num_running = sum(map(len, queues))
        newcomers = {flow for flow in waiting.flows if not any(flow in queue.flows for queue in queues)}
        limit = self._policy.max_running if newcomers else self._policy.max_num_seqs
        coming = {digest for sequence in prefilling for digest in self._prefix_cache.missing(sequence)}
        chosen: list[tuple[Sequence, Match]] = []
        entering: Counter[str] = Counter()
        reserved = tokens = 0
        self.short_of_pages = False
        for sequence in waiting:
            running_then = num_running + len(chosen)
            if tokens >= self._policy.max_batched_tokens or running_then >= limit:
                break
            if running_then >= self._policy.max_num_seqs and not self._may_exceed(sequence.flow, newcomers, entering):
                continue
            match = self._prefix_cache.match(sequence)
            if match.next_digest in coming:
                continue
            needed = self._prefix_cache.pages_needed(sequence, match)
            if not self._are_free(reserved + needed, running_then):
                self.short_of_pages = True
                break
            chosen.append((sequence, match))
            coming.update(sequence.page_digests[len(match.pages) :])
            entering[sequence.flow] += 1
            reserved += needed
            tokens += sequence.num_prompt_tokens - match.num_cached
        somebody_new = num_running > 0 and not newcomers.isdisjoint(entering)
        if somebody_new or self._policy.prefill_is_worthwhile(tokens, num_running):
            return chosen
        return []

    def _are_free(self, num_pages: int, num_running: int) -> bool:
        """Return True if so many pages are free for the sequences that enter.

        One extra page per running sequence must stay free. Otherwise a new sequence might be pre-empted a few steps
        later.

        Args:
            num_pages: Pages for the sequences that enter in this step.
            num_running: Sequences that already run or enter before the last of them.
        """
        return self._page_allocator.num_free - num_running >= num_pages

    def _may_exceed(self, flow: str, newcomers: set[str], entering: Counter[str]) -> bool:
        """Return True if a newcomer's sequence may enter a full batch.

        A flow that already enters with many sequences in this step no longer counts as a newcomer.
        """
        return flow in newcomers and entering[flow] < self._policy.newcomer_places
