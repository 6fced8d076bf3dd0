"""Allocation of KV-cache pages to sequences."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable

from engine.scheduling.prefix_index import PrefixIndex

SINK_PAGE = 0  # padded rows of a step write here; no sequence owns it


class PageAllocator:
    """Allocates and frees the pages of a cache. Not thread-safe: the engine thread owns it.

    A page table is an `array("i")` of page ids, in the order of the tokens in those pages. The caller owns the table
    and passes it to every call. Sequences may share a page. A page that no sequence owns any more is free. If the
    prefix index knows its contents, they are kept until no other free page is left. The page that was released first
    loses its contents first.

    Whoever owns a page owns all pages before it, and a table is released from its end. So a page always loses its
    contents before the pages that precede it, and every page that the index knows can be found.
    """

    def __init__(self, num_pages: int, page_size: int) -> None:
        if num_pages < 2:
            raise ValueError(f"num_pages is {num_pages}; page {SINK_PAGE} is the sink, so at least 2 are needed")
        if page_size < 1:
            raise ValueError(f"page_size is {page_size}; it must be at least 1")
        self.num_pages = num_pages
        self.page_size = page_size
        self.prefixes = PrefixIndex()
        self._owners = array("i", [0]) * num_pages  # number of owners per page
        self._empty = [page for page in reversed(range(num_pages)) if page != SINK_PAGE]
        self._kept: dict[int, None] = {}  # free pages that the index knows, the first released in front

    @property
    def num_free(self) -> int:
        """Number of pages that no sequence owns."""
        return len(self._empty) + len(self._kept)

    @property
    def num_usable(self) -> int:
        """Number of pages without the sink."""
        return self.num_pages - 1

    @property
    def usage(self) -> float:
        """Share of the usable pages that sequences own, 0 to 1."""
        return 1 - self.num_free / self.num_usable

    def pages_for(self, num_tokens: int) -> int:
        """Return the number of pages that `num_tokens` tokens need."""
        return -(-num_tokens // self.page_size)

    def num_owned(self, pages: Iterable[int]) -> int:
        """Return how many of these pages a sequence owns. Sharing one of them takes no free page."""
        return sum(self._owners[page] > 0 for page in pages)

    def reserve(self, table: array[int], num_tokens: int) -> bool:
        """Extend a table until it holds `num_tokens` tokens in total.

        Returns:
            False if too few pages are free; then the table does not change.
        """
        missing = self.pages_for(num_tokens) - len(table)
        if missing <= 0:
            return True
        if missing > self.num_free:
            return False
        for _ in range(missing):
            page = self._take()
            self._owners[page] = 1
            table.append(page)
        return True

    def share(self, table: array[int], pages: Iterable[int]) -> None:
        """Append pages with known contents to a table, as one more owner of each."""
        for page in pages:
            self._own(page)
            table.append(page)

    def replace(self, table: array[int], index: int, page: int) -> None:
        """Replace a table's page by one with the same contents, and give up the old one."""
        self._own(page)
        self._release(table[index])
        table[index] = page

    def release(self, table: array[int]) -> None:
        """Give up every page of a table and empty the table."""
        for page in reversed(table):
            self._release(page)
        del table[:]

    def check_integrity(self, tables: Iterable[array[int]]) -> None:
        """Check that every usable page is either free or has as many owners as tables hold it.

        Args:
            tables: The page tables of all sequences.

        Raises:
            AssertionError: A page is lost, has a wrong number of owners, or is the sink, or the index knows an empty
                page. This is a bug in this project.
        """
        owners = Counter(page for table in tables for page in table)
        counted = {page: count for page, count in enumerate(self._owners) if count}
        if counted != owners:
            raise AssertionError(f"owners of each page: {counted}; tables hold: {dict(owners)}")
        held = sorted([*owners, *self._empty, *self._kept])
        expected = [page for page in range(self.num_pages) if page != SINK_PAGE]
        if held != expected:
            raise AssertionError(f"pages held: {held}; there are: {expected}")
        if any(page in self.prefixes for page in self._empty) or any(page not in self.prefixes for page in self._kept):
            raise AssertionError("the index and the kept pages differ")

    def _take(self) -> int:
        """Return a free page whose contents nobody needs."""
        if self._empty:
            return self._empty.pop()
        page = next(iter(self._kept))
        del self._kept[page]
        self.prefixes.forget(page)
        return page

    def _own(self, page: int) -> None:
        self._kept.pop(page, None)
        self._owners[page] += 1

    def _release(self, page: int) -> None:
        self._owners[page] -= 1
        if self._owners[page]:
            return
        if page in self.prefixes:
            self._kept[page] = None
        else:
            self._empty.append(page)
