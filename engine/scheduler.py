"""Which sequences run in the next step, and what becomes of them after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items

from engine.admission import Admission
from engine.batch import Batch
from engine.block_manager import BlockManager
from engine.sequence import Sequence
from engine.sequence_queue import SequenceQueue
from engine.short_steps import ShortSteps


class Scheduler:
    """Continuous batching under a token budget and a number of pages. Not thread-safe: the engine thread owns it.

    A batch has `max_num_seqs` sequences, and some more when flows have just come (`engine.admission`).

    Prompts first: as many as fit into one prefill step, longer ones in chunks. A chunk always begins at a multiple of
    `max_batched_tokens` in its prompt, so how a prompt is cut depends on nothing but its length. When pages run out,
    the sequence that is served last loses its own and waits again (see `Sequence` for how it resumes).
    """

    def __init__(
        self,
        block_manager: BlockManager,
        max_num_seqs: int,
        max_batched_tokens: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.block_manager = block_manager
        self._admission = Admission(block_manager, max_num_seqs, max_batched_tokens)
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
        if self._prefilling:
            return self._prefill()
        if self._decoding:
            return self._decode()
        return None

    def advance(self, batch: Batch, token_ids: Items[int]) -> list[Sequence]:
        """Book a step that has run. Returns the sequences that it finished; their pages are free again.

        Args:
            batch: What `schedule` returned; none of its sequences may have been aborted since.
            token_ids: The sampled ids, one for each of `batch.sampling`.
        """
        for sequence, count in zip(batch.sequences, batch.num_tokens, strict=True):
            sequence.num_computed += count
        now = self._clock()
        if batch.phase == "prefill":
            self._start_decoding(batch)
        else:
            self._short_steps.note(len(batch.sequences), len(self._decoding), now - self._step_began_at)
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

    def _prefill(self) -> Batch:
        """As many prompts, or next chunks of them, as the token budget takes; always at least one."""
        chosen: list[Sequence] = []
        counts: list[int] = []
        left = self._max_batched_tokens
        for sequence in self._prefilling:
            count = min(sequence.num_prompt_tokens - sequence.num_computed, self._max_batched_tokens)
            if count > left:
                break
            left -= count
            chosen.append(sequence)
            counts.append(count)
        return Batch.prefill(chosen, counts)

    def _start_decoding(self, batch: Batch) -> None:
        for sequence in batch.sequences:
            if sequence.prefilled:
                self._prefilling.remove(sequence)
                self._decoding.add(sequence)

    def _decode(self) -> Batch:
        """Every running sequence that gets a page for its next token, first come first served, or only small flows."""
        few = self._short_steps.choose(self._decoding, self._waiting)
        if few and all(self.block_manager.reserve(each.block_table, each.num_computed + 1) for each in few):
            return Batch.decode(few)
        index = 0
        while index < len(self._decoding):
            sequence = self._decoding[index]
            if self.block_manager.reserve(sequence.block_table, sequence.num_computed + 1):
                index += 1
            else:
                self._preempt(self._decoding.take_last())
        return Batch.decode(list(self._decoding))

    def _preempt(self, sequence: Sequence) -> None:
        self.block_manager.release(sequence.block_table)
        sequence.num_computed = 0
        self._waiting.add(sequence)
