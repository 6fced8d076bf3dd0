"""Which pages of the KV cache belong to which sequence."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

SINK_PAGE = 0  # padded rows of a step write here; no sequence ever owns it


class BlockManager:
    """Hands out the pages of a cache and takes them back. Not thread-safe: the engine thread owns it.

    A block table is an `array("i")` of page ids, in the order of the tokens they hold; the caller keeps it and passes
    it to every call.
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
        """Pages that nobody owns."""
        return len(self._free)

    @property
    def num_usable(self) -> int:
        """All pages but the sink."""
        return self.num_pages - 1

    @property
    def usage(self) -> float:
        """Share of the usable pages that sequences own, 0 to 1."""
        return 1 - self.num_free / self.num_usable

    def pages_for(self, num_tokens: int) -> int:
        """How many pages hold that many tokens."""
        return -(-num_tokens // self.page_size)

    def reserve(self, table: array[int], num_tokens: int) -> bool:
        """Make a table long enough for `num_tokens` tokens in all. Returns False, and changes nothing, if it cannot."""
        missing = self.pages_for(num_tokens) - len(table)
        if missing <= 0:
            return True
        if missing > len(self._free):
            return False
        table.extend(self._free.pop() for _ in range(missing))
        return True

    def release(self, table: array[int]) -> None:
        """Take back every page of a table, which is empty afterwards."""
        self._free.extend(reversed(table))
        del table[:]

    def check_integrity(self, tables: Iterable[array[int]]) -> None:
        """Check that every usable page is either free or in exactly one place of one of `tables`.

        Args:
            tables: The block tables of every sequence there is.

        Raises:
            AssertionError: A page was lost, given out twice, or is the sink: a mistake of ours.
        """
        owned = [page for table in tables for page in table]
        held = sorted(owned + self._free)
        expected = [page for page in range(self.num_pages) if page != SINK_PAGE]
        if held != expected:
            raise AssertionError(f"pages held: {held}; there are: {expected}")
