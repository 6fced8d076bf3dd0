"""Prefix caching: prompts that begin alike compute their common beginning once."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass

from engine.scheduling.batch import PageCopy
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.prefix_index import PromptPages
from engine.scheduling.sequence import Sequence


@dataclass(frozen=True)
class Match:
    """The part of a prompt that is in the cache already."""

    num_cached: int = 0  # tokens that need not be computed
    pages: tuple[int, ...] = ()  # full pages, to be shared
    source: int | None = None  # page whose first rows are to be copied into the prompt's next page
    next_digest: bytes | None = None  # the first page that is missing; None if no sequence has to wait for it


class PrefixCache:
    """Finds a prompt's beginning among the pages in the cache, and remembers the pages of prompts.

    Only pages that prefill has filled with prompt tokens are shared. Decode kernels round differently, so a generated
    token's keys are not those of an equal prompt token. A row's bits depend on its own tokens before it and on nothing
    else (`model.ops.attention`). Sharing therefore changes no bit of any completion.

    A full page is shared. The known beginning of the page after it is copied. The last token of a prompt is always
    computed, because its hidden state gives the first new token.

    Args:
        page_allocator: Allocates the cache's pages.
        policy: Says whether prefixes are cached, and how many tokens are worth a copy.
    """

    def __init__(self, page_allocator: PageAllocator, policy: SchedulingPolicy) -> None:
        self._page_allocator = page_allocator
        self._index = page_allocator.prefixes
        self._page_size = page_allocator.page_size
        self._enabled = policy.prefix_caching
        self._min_copied = policy.min_copied_tokens

    def prepare(self, sequence: Sequence) -> None:
        """Compute the digests by which a new sequence's pages are found."""
        if self._enabled:
            sequence.prompt_pages = PromptPages.of(sequence.ticket.request.token_ids, self._page_size)

    def match(self, sequence: Sequence) -> Match:
        """Return the part of a sequence's prompt that is in the cache. Changes nothing."""
        prompt = sequence.prompt_pages
        if not prompt.digests:
            return Match()
        limit = sequence.num_prompt_tokens - 1
        pages = self._index.chain(prompt.digests[: limit // self._page_size])
        start = len(pages) * self._page_size
        end = min(start + self._page_size, limit)
        source, count = self._index.nearest(prompt.parent(len(pages)), prompt.key(start, end))
        copies = count >= self._min_copied
        waits = end - start - count >= self._min_copied
        return Match(
            num_cached=start + count if copies else start,
            pages=tuple(pages),
            source=source if copies else None,
            next_digest=prompt.digests[len(pages)] if waits else None,
        )

    def pages_needed(self, sequence: Sequence, match: Match) -> int:
        """Return the number of free pages that a sequence takes when it enters."""
        return self._page_allocator.pages_for(len(sequence.tokens)) - self._page_allocator.num_owned(match.pages)

    def missing(self, sequence: Sequence) -> tuple[bytes, ...]:
        """Return the digests of the pages that a prefilling sequence will fill."""
        return sequence.prompt_pages.digests[sequence.num_computed // self._page_size :]

    def enter(self, entering: Items[tuple[Sequence, Match]]) -> list[PageCopy]:
        """Give pages to sequences that enter the batch, and set how many of their tokens are computed.

        Pages of the cache are shared before new ones are taken. Another sequence may still have to copy the contents of
        a new page. So all copies must be done at once, before the step writes to any page.

        Args:
            entering: Waiting sequences for all of which enough pages are free, each with its present match.
        """
        for sequence, match in entering:
            self._page_allocator.share(sequence.page_table, match.pages)
            sequence.num_computed = sequence.num_cached = match.num_cached
            sequence.num_indexed = len(match.pages)
        copies = []
        for sequence, match in entering:
            fits = self._page_allocator.reserve(sequence.page_table, len(sequence.tokens))
            assert fits, "admission counted more free pages than there are"
            if match.source is not None:
                copies.append(PageCopy(match.source, sequence.page_table[len(match.pages)]))
        return copies

    def learn(self, sequence: Sequence) -> None:
        """Remember the pages that a sequence's prompt has filled so far. Call it after each of its prefill steps.

        If another sequence has filled an equal page meanwhile, the sequence takes that one and gives up its own.
        """
        digests, size = sequence.prompt_pages.digests, self._page_size
        if not digests:
            return
        num_full = sequence.num_computed // size
        for index in range(sequence.num_indexed, num_full):
            known = self._index.page_of(digests[index])
            if known is None:
                self._add(sequence, index, digests[index])
            else:
                self._page_allocator.replace(sequence.page_table, index, known)
        sequence.num_indexed = max(sequence.num_indexed, num_full)
        if sequence.prefilled and num_full < len(digests) and sequence.num_indexed == num_full:
            self._add_last(sequence, num_full)

    def _add_last(self, sequence: Sequence, index: int) -> None:
        """Remember a prompt's last page, which is not full, so that its rows can be copied."""
        prompt, start, end = sequence.prompt_pages, index * self._page_size, sequence.num_prompt_tokens
        _, count = self._index.nearest(prompt.parent(index), prompt.key(start, end))
        if end - start >= self._min_copied and count < end - start:
            self._add(sequence, index, None)
        sequence.num_indexed = index + 1

    def _add(self, sequence: Sequence, index: int, digest: bytes | None) -> None:
        prompt, start = sequence.prompt_pages, index * self._page_size
        key = prompt.key(start, start + self._page_size)
        self._index.add(sequence.page_table[index], prompt.parent(index), key, digest)
