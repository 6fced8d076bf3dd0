"""Which sequences run in the next step, and what becomes of them after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items

from engine.scheduling import policy
from engine.scheduling.admission import Admission
from engine.scheduling.batch import Batch
from engine.scheduling.block_manager import BlockManager
from engine.scheduling.sequence import Sequence
from engine.scheduling.sequence_queue import SequenceQueue
from engine.scheduling.short_steps import ShortSteps


class Scheduler:
    """Continuous batching under a token budget and a number of pages. Not thread-safe: the engine thread owns it.

    A batch has `max_num_seqs` sequences, and some more when flows have just come (`engine.scheduling.admission`).

    Prompts first: as many as fit into one prefill step, longer ones in chunks. A chunk always begins at a multiple of
    `max_batched_tokens` in its prompt, so how a prompt is cut depends on nothing but its length. A prefill step may
    take seconds; so where it would hold up other flows, and the runner mixes, a few prompt tokens join each decode step
    instead; its kernels give a prompt the same bits however it is cut. When pages run out, the sequence that is served
    last loses its own and waits again (see `Sequence` for how it resumes).

    Args:
        block_manager: The cache's pages.
        max_num_seqs: Sequences of a batch.
        max_batched_tokens: Prompt tokens of one prefill step.
        mixes: Whether a step may decode and prefill (`ModelRunner.mixes`).
        clock: Seconds.
    """

    def __init__(
        self,
        block_manager: BlockManager,
        max_num_seqs: int,
        max_batched_tokens: int,
        *,
        mixes: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.block_manager = block_manager
        self._admission = Admission(block_manager, max_num_seqs, max_batched_tokens)
        self._max_num_seqs = max_num_seqs
        self._mixes = mixes
        self._max_batched_tokens = max_batched_tokens
        self._clock = clock
        self._short_steps = ShortSteps(max_num_seqs)
        self._step_began_at = clock()
        self.turn = 0  # of the sequence that was let in last; other threads may read it
        self._waiting = SequenceQueue()
        self._prefilling = SequenceQueue()  # have their pages; their prompts are not all in the cache
        self._decoding = SequenceQueue()

    @property
    def num_running(self) -> int:
        """Sequences that own pages."""
        return len(self._prefilling) + len(self._decoding)

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def num_held_back(self) -> int:
        """Sequences that wait for pages alone: the batch has places for them."""
        if not self._admission.short_of_pages:
            return 0
        return max(0, min(self._max_num_seqs - self.num_running, self.num_waiting))

    def sequences(self) -> Iterator[Sequence]:
        """Every sequence that is not finished."""
        for queue in (self._decoding, self._prefilling, self._waiting):
            yield from queue

    def add(self, sequence: Sequence) -> None:
        """Let a sequence wait for its turn. Raises `ValueError` if the whole cache is too small for its longest."""
        longest = sequence.num_prompt_tokens + sequence.stop_checker.max_new_tokens - 1  # the last token is never fed
        if self.block_manager.pages_for(longest) > self.block_manager.num_usable:
            raise ValueError(f"a sequence of {longest} tokens never fits {self.block_manager.num_usable} pages")
        self._waiting.add(sequence)

    def abort(self, sequence: Sequence) -> None:
        """Forget an unfinished sequence and free its pages. Raises `KeyError` if it is not here."""
        for queue in (self._waiting, self._prefilling, self._decoding):
            if sequence in queue:
                queue.remove(sequence)
                self.block_manager.release(sequence.block_table)
                return
        raise KeyError(sequence.priority)

    def schedule(self) -> Batch | None:
        """The next step, with pages for all of its tokens. None when there is nothing to do."""
        self._step_began_at = self._clock()
        self._admit()
        prompts, counts = self._prompts(self._max_batched_tokens)
        if prompts and not self._would_hold_up_others(sum(counts)):
            return Batch.prefill(prompts, counts)
        if not self._decoding:
            return None
        decoding = self._few() or self._all_with_pages()
        if prompts and len(decoding) == len(self._decoding):
            return Batch.mixed(decoding, *self._prompts(policy.MIXED_PROMPT_TOKENS))
        return Batch.decode(decoding)

    def advance(self, batch: Batch, token_ids: Items[int]) -> list[Sequence]:
        """Book a step that has run. Returns the sequences that it finished; their pages are free again.

        Args:
            batch: What `schedule` returned; none of its sequences may have been aborted since.
            token_ids: The sampled ids, one for each of `batch.sampling`.
        """
        for sequence, count in zip(batch.sequences, batch.num_tokens, strict=True):
            sequence.num_computed += count
        now = self._clock()
        if batch.num_decodes:
            self._short_steps.note(batch.num_decodes, len(self._decoding), now - self._step_began_at)
        self._start_decoding(batch.sequences[batch.num_decodes :])
        finished = []
        for index, token_id in zip(batch.sampling, token_ids, strict=True):
            sequence = batch.sequences[index]
            sequence.append(token_id, now)
            if sequence.finish_reason is not None:
                finished.append(sequence)
        for sequence in finished:
            self._decoding.remove(sequence)
            self.block_manager.release(sequence.block_table)
        return finished

    def _admit(self) -> None:
        """Give pages to the waiting sequences that enter now."""
        for sequence in self._admission.choose(self._waiting, (self._prefilling, self._decoding)):
            self._waiting.remove(sequence)
            self.block_manager.reserve(sequence.block_table, len(sequence.tokens))
            self._prefilling.add(sequence)
            self.turn = max(self.turn, sequence.priority[0])

    def _would_hold_up_others(self, num_tokens: int) -> bool:
        """Whether another flow's tokens would wait long for a step of so many prompt tokens, though they need not."""
        flows = self._prefilling.flows.keys() | self._decoding.flows.keys()
        return self._mixes and len(self._decoding) > 0 and len(flows) > 1 and num_tokens > policy.MIXED_PROMPT_TOKENS

    def _prompts(self, most: int) -> tuple[list[Sequence], list[int]]:
        """As many prompts, or next chunks of them, as `most` tokens hold, and how many of each; at least one if any."""
        chosen: list[Sequence] = []
        counts: list[int] = []
        left = most
        for sequence in self._prefilling:
            count = min(sequence.num_prompt_tokens - sequence.num_computed, most)
            if count > left:
                break
            left -= count
            chosen.append(sequence)
            counts.append(count)
        return chosen, counts

    def _start_decoding(self, prompts: Items[Sequence]) -> None:
        for sequence in prompts:
            if sequence.prefilled:
                self._prefilling.remove(sequence)
                self._decoding.add(sequence)

    def _few(self) -> list[Sequence]:
        """Sequences of small flows that decode without the others now; none, if it is a step of all."""
        few = self._short_steps.choose(self._decoding, self._waiting)
        return few if all(self.block_manager.reserve(each.block_table, each.num_computed + 1) for each in few) else []

    def _all_with_pages(self) -> list[Sequence]:
        """Every running sequence that gets a page for its next token, first come first served."""
        index = 0
        while index < len(self._decoding):
            sequence = self._decoding[index]
            if self.block_manager.reserve(sequence.block_table, sequence.num_computed + 1):
                index += 1
            else:
                self._preempt(self._decoding.take_last())
        return list(self._decoding)

    def _preempt(self, sequence: Sequence) -> None:
        self.block_manager.release(sequence.block_table)
        sequence.num_computed = 0
        self._waiting.add(sequence)
