"""Who of the waiting sequences enters the batch before a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from engine.scheduling import policy
from engine.scheduling.block_manager import BlockManager
from engine.scheduling.sequence import Sequence
from engine.scheduling.sequence_queue import SequenceQueue


class Admission:
    """Strictly in the order of the queue, but that a flow of which nothing runs finds places in a full batch, too.

    Args:
        blocks: The cache's pages.
        max_num_seqs: Sequences of a batch.
        max_batched_tokens: Prompt tokens of one prefill step: more do not enter together.
    """

    def __init__(self, blocks: BlockManager, max_num_seqs: int, max_batched_tokens: int) -> None:
        self._blocks = blocks
        self._max_num_seqs = max_num_seqs
        self._max_batched_tokens = max_batched_tokens
        self.short_of_pages = False  # whether the last `choose` left a sequence out because it found too few pages
        self._newcomer_places = policy.newcomer_places(max_num_seqs)

    def choose(self, waiting: SequenceQueue, running: Iterable[SequenceQueue]) -> list[Sequence]:
        """Those that enter now: there are pages for all of them, and a prefill is worthwhile."""
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
            if not policy.may_enter(self._blocks, len(sequence.tokens), reserved, running_then):
                self.short_of_pages = True
                break
            chosen.append(sequence)
            entering[sequence.flow] += 1
            reserved += self._blocks.pages_for(len(sequence.tokens))
            tokens += sequence.num_prompt_tokens
        somebody_new = num_running > 0 and not newcomers.isdisjoint(entering)
        if somebody_new or policy.prefill_is_worthwhile(tokens, num_running, self._max_num_seqs):
            return chosen
        return []

    def _limit(self, newcomers: set[str]) -> int:
        return policy.most_running(self._max_num_seqs) if newcomers else self._max_num_seqs

    def _may_exceed(self, flow: str, newcomers: set[str], entering: Counter[str]) -> bool:
        """A flow that fills much of the batch in this very step is no newcomer any more."""
        return flow in newcomers and entering[flow] < self._newcomer_places
