"""The scheduler chooses the sequences of each step and updates them after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from dataclasses import replace

from engine.scheduling.admission import Admission
from engine.scheduling.batch import Batch, Outcome, PageCopy
from engine.scheduling.decode_rows import DecodeRows
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.prefix_cache import PrefixCache
from engine.scheduling.sequence import Sampled, Sequence
from engine.scheduling.sequence_queue import SequenceQueue
from engine.scheduling.short_steps import ShortSteps
from engine.speculation.drafting import Drafting


class Scheduler:
    """Continuous batching within a token budget and a page budget. Not thread-safe: the engine thread owns it.

    A batch has at most `policy.max_num_seqs` sequences, and a few more for new flows (`engine.scheduling.admission`).

    Prefill comes before decode. A prefill step takes all prompts that fit, and splits longer ones into chunks. Kernels
    give a prompt the same bits for every split. The part of a prompt that is in the cache already is not computed
    (`engine.scheduling.prefix_cache`).

    A prefill step may take seconds. If it would delay other flows and the runner supports mixed steps, a few prompt
    tokens join each decode step instead.

    An urgent sequence enters before all others. If no place or too few pages are free, sequences of lowest priority
    give way, each at most once. The prompts of urgent sequences share their steps with no other prompt. After a few
    such steps in a row, a step belongs to the other sequences, so that none of them starves.

    When pages run out, the sequence of lowest priority loses its pages and waits again. `Sequence` says how it resumes.

    Args:
        page_allocator: Allocates the cache's pages.
        policy: Limits and thresholds.
        mixes: True if a step may both decode and prefill (`ModelRunner.mixes`).
        row_cost: Cost of one more row in a decode step (`engine.speculation.drafting`). None: guess no tokens.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        page_allocator: PageAllocator,
        policy: SchedulingPolicy,
        *,
        mixes: bool = False,
        row_cost: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.page_allocator = page_allocator
        self._prefix_cache = PrefixCache(page_allocator, policy)
        self.admission = Admission(page_allocator, self._prefix_cache, policy)
        self._policy = policy
        self._mixes = mixes
        self._clock = clock
        self._short_steps = ShortSteps(policy)
        self._urgent_prefills = 0  # latest steps in a row whose only prompts were urgent
        self._others_prefilled = False  # True: the latest step that belonged to the others was a prefill
        self._decode_rows = DecodeRows(page_allocator, None if row_cost is None else Drafting(row_cost))
        self._step_began_at = clock()
        self.num_preemptions = 0  # since the start; other threads may read it
        self.turn = 0  # highest turn of an admitted sequence; other threads may read it
        self._waiting = SequenceQueue()
        self._prefilling = SequenceQueue()  # own pages; their prompts are not complete in the cache
        self._decoding = SequenceQueue()

    @property
    def num_running(self) -> int:
        """Number of sequences that own pages."""
        return len(self._prefilling) + len(self._decoding)

    @property
    def num_waiting(self) -> int:
        """Number of sequences that wait for admission."""
        return len(self._waiting)

    @property
    def num_held_back(self) -> int:
        """Number of sequences that wait only for pages: the batch has free places for them."""
        if not self.admission.short_of_pages:
            return 0
        return max(0, min(self._policy.max_num_seqs - self.num_running, self.num_waiting))

    def sequences(self) -> Iterator[Sequence]:
        """Yield every sequence that is not finished."""
        for queue in (self._decoding, self._prefilling, self._waiting):
            yield from queue

    def add(self, sequence: Sequence) -> None:
        """Add a sequence to the waiting ones.

        Raises:
            ValueError: The whole cache is too small for the sequence at its maximum length.
        """
        longest = sequence.num_prompt_tokens + sequence.stop_checker.max_new_tokens - 1  # the last token is never fed
        if self.page_allocator.pages_for(longest) > self.page_allocator.num_usable:
            raise ValueError(f"a sequence of {longest} tokens never fits {self.page_allocator.num_usable} pages")
        self._prefix_cache.prepare(sequence)
        self._waiting.add(sequence)

    def abort(self, sequence: Sequence) -> None:
        """Remove an unfinished sequence and free its pages.

        Raises:
            KeyError: The scheduler does not have this sequence.
        """
        for queue in (self._waiting, self._prefilling, self._decoding):
            if sequence in queue:
                queue.remove(sequence)
                self.page_allocator.release(sequence.page_table)
                return
        raise KeyError(sequence.priority)

    def schedule(self) -> Batch | None:
        """Return the next step, with pages allocated for all of its tokens, or None if no sequence can run."""
        self._step_began_at = self._clock()
        copies = self._admit()
        batch = self._next_batch()
        if batch is not None:
            self._note_prompts(batch)
        return replace(batch, copies=tuple(copies)) if batch is not None and copies else batch

    def _next_batch(self) -> Batch | None:
        if self._urgent_prefills >= self._policy.max_urgent_prefills and (batch := self._step_of_others()) is not None:
            self._urgent_prefills = 0
            return batch
        prompts, counts = self._prompts(self._policy.max_batched_tokens)
        if prompts and not self._would_hold_up_others(sum(counts)):
            return Batch.prefill(prompts, counts)
        if not self._decoding:
            return None
        decoding = self._short_step() or self._all_with_pages()
        if prompts and len(decoding) == len(self._decoding):
            return Batch.mixed(self._decode(decoding), *self._prompts(self._policy.max_mixed_tokens))
        return self._decode(decoding)

    def _step_of_others(self) -> Batch | None:
        """Return a step without prompts of urgent sequences: a prefill and a decode step in turn.

        Returns None if nothing but these prompts can run.
        """
        prompts, counts = self._prompts(self._policy.max_batched_tokens, urgent=False)
        self._others_prefilled = bool(prompts) and not (self._decoding and self._others_prefilled)
        if self._others_prefilled:
            return Batch.prefill(prompts, counts)
        decoding = self._all_with_pages()
        return self._decode(decoding) if decoding else None

    def _decode(self, sequences: Items[Sequence]) -> Batch:
        """Return a decode step of these sequences, which may use the batch's empty places for guessed tokens."""
        return self._decode_rows.batch(sequences, self._policy.max_running - self.num_running + len(sequences))

    def _note_prompts(self, batch: Batch) -> None:
        """Count the latest steps in a row in which only urgent prompts were computed while other prompts waited."""
        prompts = batch.sequences[batch.num_decodes :]
        if prompts and prompts[0].urgent:
            self._urgent_prefills += 1
        elif prompts or not self._prefilling:
            self._urgent_prefills = 0

    def advance(self, batch: Batch, outcomes: Items[Outcome]) -> list[Sequence]:
        """Update the sequences after a step and free the pages of those that have finished.

        Args:
            batch: The batch that `schedule` returned. None of its sequences may have been aborted since.
            outcomes: The sampled ids, or what was pooled, one per entry of `batch.sampling`.

        Returns:
            The sequences that finished in this step.
        """
        for sequence, count in zip(batch.sequences, batch.num_tokens, strict=True):
            sequence.num_computed += count
        now = self._clock()
        if batch.num_decodes:
            self._short_steps.note(batch.num_decodes, len(self._decoding), now - self._step_began_at)
        self._start_decoding(batch.sequences[batch.num_decodes :])
        finished = []
        sampled: dict[int, list[int | Sampled]] = {}
        for index, outcome in zip(batch.sampling, outcomes, strict=True):
            if isinstance(outcome, bytes):
                batch.sequences[index].end_with_prompt(outcome, now)
                finished.append(batch.sequences[index])
            else:
                sampled.setdefault(index, []).append(outcome)
        for index, chosen in sampled.items():
            sequence = batch.sequences[index]
            sequence.accept(chosen, now)
            if sequence.finish_reason is not None:
                finished.append(sequence)
        for sequence in finished:
            self._decoding.remove(sequence)
            self.page_allocator.release(sequence.page_table)
        return finished

    def _admit(self) -> list[PageCopy]:
        """Allocate pages to the waiting sequences that enter now, and move them to the prefilling ones.

        Returns:
            The copies of pages that the next step begins with.
        """
        queues = (self._waiting, self._prefilling, self._decoding)
        while (victim := self.admission.in_the_way(*queues)) is not None:
            (self._prefilling if victim in self._prefilling else self._decoding).remove(victim)
            victim.gave_way = True
            self._preempt(victim)
        entering = self.admission.choose(*queues)
        copies = self._prefix_cache.enter(entering)
        for sequence, _ in entering:
            if sequence.admitted_at is None:
                sequence.admitted_at = self._step_began_at
            self._waiting.remove(sequence)
            self._prefilling.add(sequence)
            if not sequence.urgent:
                self.turn = max(self.turn, sequence.priority[1])
        return copies

    def _would_hold_up_others(self, num_tokens: int) -> bool:
        """Return True if a prefill step of `num_tokens` would delay other flows and a mixed step can replace it."""
        flows = self._prefilling.flows.keys() | self._decoding.flows.keys()
        return self._mixes and len(self._decoding) > 0 and len(flows) > 1 and num_tokens > self._policy.max_mixed_tokens

    def _prompts(self, max_tokens: int, *, urgent: bool = True) -> tuple[list[Sequence], list[int]]:
        """Return the prompts, or next chunks of them, that fit in `max_tokens` tokens, with the token count of each.

        While urgent prompts are prefilling, returns only these, so that their step is short. With `urgent` False,
        returns only the others. The lists are not empty while any such prompt is prefilling.
        """
        chosen: list[Sequence] = []
        counts: list[int] = []
        left = max_tokens
        for sequence in self._prefilling:
            if sequence.urgent and not urgent:
                continue
            count = min(sequence.num_prompt_tokens - sequence.num_computed, max_tokens)
            if count > left or (chosen and chosen[0].urgent and not sequence.urgent):
                break
            left -= count
            chosen.append(sequence)
            counts.append(count)
        return chosen, counts

    def _start_decoding(self, prompts: Items[Sequence]) -> None:
        """Remember the pages that a step has filled with prompts, and let the sequences decode that are complete."""
        for sequence in prompts:
            self._prefix_cache.learn(sequence)
            if sequence.prefilled:
                self._prefilling.remove(sequence)
                self._decoding.add(sequence)

    def _short_step(self) -> list[Sequence]:
        """Return the sequences of small flows that decode in a short step now.

        Returns an empty list if the next step is for all sequences, or if pages are short.
        """
        few = self._short_steps.choose(self._decoding, self._waiting)
        return few if all(self.page_allocator.reserve(each.page_table, each.num_computed + 1) for each in few) else []

    def _all_with_pages(self) -> list[Sequence]:
        """Return the decoding sequences that have a page for their next token, in priority order.

        Pre-empts sequences of lowest priority until the rest have pages.
        """
        index = 0
        while index < len(self._decoding):
            sequence = self._decoding[index]
            if self.page_allocator.reserve(sequence.page_table, sequence.num_computed + 1):
                index += 1
            else:
                victim = self._victim()
                index -= victim.priority < sequence.priority
                self._decoding.remove(victim)
                self._preempt(victim)
        return list(self._decoding)

    def _victim(self) -> Sequence:
        """Return the decoding sequence that loses its pages next: the last one.

        One line is spared: the first of those that urgent sequences have cost their pages often enough. Otherwise a
        line could begin again for ever in a small cache.
        """
        losses = self._policy.max_page_losses
        spared = next((each for each in self._decoding if each.num_page_losses >= losses and not each.urgent), None)
        last = self._decoding[-1]
        return self._decoding[-2] if last is spared and len(self._decoding) > 1 else last

    def _preempt(self, sequence: Sequence) -> None:
        self.num_preemptions += 1
        sequence.num_page_losses += any(queue.num_urgent for queue in (self._prefilling, self._decoding))
        self.page_allocator.release(sequence.page_table)
        sequence.num_computed = 0
        self._waiting.add(sequence)
