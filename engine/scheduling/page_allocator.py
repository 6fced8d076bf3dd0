"""Allocation of KV-cache pages to sequences."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

SINK_PAGE = 0  # padded rows of a step write here; no sequence owns it


class PageAllocator:
    """Allocates and frees the pages of a cache. Not thread-safe: the engine thread owns it.

    A page table is an `array("i")` of page ids, in the order of the tokens in those pages. The caller owns the table
    and passes it to every call.
    """

    def __init__(self, num_pages: int, page_size: int) -> None:
        if num_pages < 2:
            raise ValueError(f"num_pages is {num_pages}; page {SINK_PAGE} is the sink, so at least 2 are needed")
        if page_size < 1:
            raise ValueError(f"page_size is {page_size}; it must be at least 1")
        self.num_pages = num_pages
        self.page_size = page_size
        self._free = [page for page in reversed(range(num_pages)) if page != SINK_PAGE]

    @property
    def num_free(self) -> int:
        """Number of pages that no sequence owns."""
        return len(self._free)

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

    def reserve(self, table: array[int], num_tokens: int) -> bool:
        """Extend a table until it holds `num_tokens` tokens in total.

        Returns:
            False if too few pages are free; then the table does not change.
        """
        missing = self.pages_for(num_tokens) - len(table)
        if missing <= 0:
            return True
        if missing > len(self._free):
            return False
        table.extend(self._free.pop() for _ in range(missing))
        return True

    def release(self, table: array[int]) -> None:
        """Free every page of a table and empty the table."""
        self._free.extend(reversed(table))
        del table[:]

    def check_integrity(self, tables: Iterable[array[int]]) -> None:
        """Check that every usable page is either free or stands exactly once in `tables`.

        Args:
            tables: The page tables of all sequences.

        Raises:
            AssertionError: A page is lost, allocated twice, or the sink. This is a bug in this project.
        """
        owned = [page for table in tables for page in table]
        held = sorted(owned + self._free)
        expected = [page for page in range(self.num_pages) if page != SINK_PAGE]
        if held != expected:
            raise AssertionError(f"pages held: {held}; there are: {expected}")
