"""Count the prompt tokens that prefix caching saves: those that an earlier prompt begins with as well."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from engine.config import PAGE_SIZE
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.prefix_index import PrefixIndex, PromptPages

MAX_PAGES = 2048  # 131,072 tokens: less than most caches hold. More pages would cost more time than memory


class SharedTokens:
    """Plays the prefix cache of a worker that runs prompts one after the other (`PrefixCache`).

    It remembers the pages that were used last, at most `max_pages`. So its memory does not grow with the file.
    """

    def __init__(self, max_pages: int = MAX_PAGES) -> None:
        self.count = 0  # tokens so far that the cache had
        self._max_pages = max_pages
        self._min_copied = SchedulingPolicy.min_copied_tokens
        self._index = PrefixIndex()
        self._used: OrderedDict[int, None] = OrderedDict()  # pages, the one that was used last at the end
        self._next_page = 0

    def add(self, token_ids: Sequence[int]) -> None:
        """Add the next prompt, and count its tokens that the cache has. The last token is always computed."""
        prompt, limit = PromptPages.of(token_ids, PAGE_SIZE), len(token_ids) - 1
        pages = self._index.chain(prompt.digests[: limit // PAGE_SIZE])
        start = len(pages) * PAGE_SIZE
        _, copied = self._index.nearest(prompt.parent(len(pages)), prompt.key(start, min(start + PAGE_SIZE, limit)))
        self.count += start + (copied if copied >= self._min_copied else 0)
        self._remember(prompt, len(token_ids), pages)

    def _remember(self, prompt: PromptPages, length: int, pages: list[int]) -> None:
        """Add the pages that the cache does not have, after `pages`. Then forget the pages that were used long ago.

        A page counts as used after the pages that follow it. So a page is forgotten before the pages that it follows.
        """
        for place in range(len(pages), len(prompt.digests)):
            start, parent, digest = place * PAGE_SIZE, prompt.parent(place), prompt.digests[place]
            count = min(PAGE_SIZE, length - start)
            key = prompt.key(start, start + count)
            if count == PAGE_SIZE:
                known = self._index.page_of(digest)
                pages.append(self._new(parent, key, digest) if known is None else known)
            elif count >= self._min_copied and self._index.nearest(parent, key)[1] < count:
                pages.append(self._new(parent, key, None))
        for page in reversed(pages):
            self._used[page] = None
            self._used.move_to_end(page)
        while len(self._used) > self._max_pages:
            self._index.forget(self._used.popitem(last=False)[0])

    def _new(self, parent: bytes, key: bytes, digest: bytes | None) -> int:
        self._next_page += 1
        self._index.add(self._next_page, parent, key, digest)
        return self._next_page
