"""Admission: choosing the waiting sequences that enter the batch before a step, and those that give way to them."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.prefix_cache import Match, PrefixCache
from engine.scheduling.sequence import Sequence
from engine.scheduling.sequence_queue import SequenceQueue


class Admission:
    """Admits sequences in queue order, with one exception for newcomers.

    A newcomer is a flow with no running sequence. Its sequences may enter a full batch
    (`SchedulingPolicy.newcomer_places`). So may urgent sequences. If that is not enough for them, running sequences
    give way: `in_the_way` names these. The others keep their share of the batch (`SchedulingPolicy.ordinary_places`).
    While they have less, they may exceed both the batch and the tokens of a step, because urgent sequences come first.

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
        self.pages_to_come = (
            0  # pages that the sequences will take that ran then, as far as known; 0 unless pages were short
        )

    def choose(
        self, waiting: SequenceQueue, prefilling: SequenceQueue, decoding: SequenceQueue
    ) -> list[tuple[Sequence, Match]]:
        """Return the sequences that enter now, each with the part of its prompt that is in the cache.

        Enough pages are free for all of them. The list is empty if a prefill would not be worthwhile
        (`SchedulingPolicy.prefill_is_worthwhile`).
        """
        queues = (prefilling, decoding)
        num_running = sum(map(len, queues))
        num_others = num_running - sum(queue.num_urgent for queue in queues)
        newcomers = {flow for flow in waiting.flows if not any(flow in queue.flows for queue in queues)}
        limit = self._policy.max_running if newcomers or waiting.num_urgent else self._policy.max_num_seqs
        may_be_urgent = self._urgent_places(waiting, prefilling, decoding)
        kept_free = self._kept_for_others(waiting, num_others)
        has_urgent = waiting.num_urgent > 0 or num_others < num_running
        owed = self._policy.ordinary_places - num_others if has_urgent else 0  # places that the others lack
        coming = {digest for sequence in prefilling for digest in self._prefix_cache.missing(sequence)}
        chosen: list[tuple[Sequence, Match]] = []
        entering: Counter[str] = Counter()
        reserved = tokens = 0
        self.short_of_pages, self.pages_to_come = False, 0
        for sequence in waiting:
            running_then = num_running + len(chosen)
            has_tokens = tokens < self._policy.max_batched_tokens
            if running_then >= limit or not (has_tokens or owed > 0):
                break
            if sequence.urgent and not (has_tokens and may_be_urgent > 0):
                continue
            is_full = running_then >= self._policy.max_num_seqs and owed <= 0
            if is_full and not self._may_exceed(sequence, newcomers, entering):
                continue
            match = self._prefix_cache.match(sequence)
            if match.next_digest in coming:
                continue
            needed = self._prefix_cache.pages_needed(sequence, match)
            if not self._are_free(reserved + needed + (kept_free if sequence.urgent else 0), running_then):
                self.short_of_pages = True
                self.pages_to_come = sum(self._growth(each) for queue in queues for each in queue)
                if sequence.urgent and kept_free:
                    continue
                break
            chosen.append((sequence, match))
            coming.update(sequence.prompt_pages.digests[len(match.pages) :])
            entering[sequence.flow] += 1
            reserved += needed
            tokens += sequence.num_prompt_tokens - match.num_cached
            may_be_urgent -= sequence.urgent
            owed -= not sequence.urgent
        somebody_new = num_running > 0 and not newcomers.isdisjoint(entering)
        if somebody_new or (chosen and chosen[0][0].urgent) or self._policy.prefill_is_worthwhile(tokens, num_running):
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

    def _growth(self, running: Sequence) -> int:
        """Return the number of pages that a running sequence will take: one to grow into, or more if that is known."""
        return max(self._page_allocator.pages_for(running.known_length) - len(running.page_table), 1)

    def _may_exceed(self, sequence: Sequence, newcomers: set[str], entering: Counter[str]) -> bool:
        """Return True if a sequence may enter a full batch, because it is urgent or a newcomer's.

        A flow that already enters with many sequences in this step no longer counts as a newcomer.
        """
        flow = sequence.flow
        return sequence.urgent or (flow in newcomers and entering[flow] < self._policy.newcomer_places)

    def in_the_way(self, waiting: SequenceQueue, prefilling: SequenceQueue, decoding: SequenceQueue) -> Sequence | None:
        """Return a running sequence that must give way to an urgent one, or None if none must or may.

        It is the one of lowest priority that has not given way before. The caller pre-empts it and asks again.
        """
        running = (prefilling, decoding)
        num_others = sum(len(queue) - queue.num_urgent for queue in running)
        if not waiting.num_urgent or num_others <= self._policy.ordinary_places:
            return None
        if self._urgent_ones_fit(waiting, self._urgent_places(waiting, *running), sum(map(len, running))):
            return None
        may_go = (each for queue in running for each in queue if not (each.urgent or each.gave_way))
        return max(may_go, key=lambda each: each.priority, default=None)

    def _urgent_ones_fit(self, waiting: SequenceQueue, places: int, num_running: int) -> bool:
        """Return True if the batch and the cache have room for the urgent sequences that may enter now."""
        reserved = 0
        for number, sequence in enumerate(islice(waiting, min(places, waiting.num_urgent))):
            reserved += self._prefix_cache.pages_needed(sequence, self._prefix_cache.match(sequence))
            running_then = num_running + number
            if running_then >= self._policy.max_running or not self._are_free(reserved, running_then):
                return False
        return True

    def _urgent_places(self, waiting: SequenceQueue, prefilling: SequenceQueue, decoding: SequenceQueue) -> int:
        """Return the number of urgent sequences that may enter beside those that run."""
        queues = (waiting, prefilling, decoding)
        if all(queue.num_urgent == len(queue) for queue in queues):
            return self._policy.max_running
        return self._policy.urgent_places - prefilling.num_urgent - decoding.num_urgent

    def _kept_for_others(self, waiting: SequenceQueue, num_others: int) -> int:
        """Return the number of pages that urgent sequences must leave, so that the others do not starve.

        Args:
            waiting: The waiting sequences.
            num_others: Number of running sequences that are not urgent.
        """
        first_other = waiting.num_urgent
        if not first_other or first_other == len(waiting) or num_others >= self._policy.ordinary_places:
            return 0
        sequence = waiting[first_other]
        return self._prefix_cache.pages_needed(sequence, self._prefix_cache.match(sequence)) + 1
