"""The prefix index: finds the page that holds the keys and values of given prompt tokens."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Sequence as Items
from dataclasses import dataclass
from hashlib import sha256
from operator import attrgetter
from typing import Self

ROOT = b""  # digest of the empty prefix
ID_BYTES = 4

_KEY = attrgetter("key")


@dataclass(frozen=True)
class PromptPages:
    """A prompt as the index knows it. Its token ids become bytes once, and serve as keys and for the digests."""

    digests: tuple[bytes, ...] = ()  # one per page; the last one may be that of a page that is not full
    ids: bytes = b""  # all token ids, big-endian, so that keys sort as the ids do

    @classmethod
    def of(cls, token_ids: Items[int], page_size: int) -> Self:
        """Compute the digests of a prompt's pages.

        A digest covers all ids up to the page's end. Two different prefixes with one digest are out of reach: that
        would take about 2**128 attempts. With a processor's instructions for SHA-256, BLAKE2 is slower.
        """
        ids = _bytes_of(token_ids)
        width = page_size * ID_BYTES
        prefix = sha256()
        digests = []
        for start in range(0, len(ids), width):
            prefix.update(ids[start : start + width])
            digests.append(prefix.digest())
        return cls(tuple(digests), ids)

    def parent(self, page: int) -> bytes:
        """Return the digest of the pages before the prompt's `page`-th."""
        return self.digests[page - 1] if page else ROOT

    def key(self, start: int, end: int) -> bytes:
        """Return the key of the tokens from `start` up to `end`."""
        return self.ids[start * ID_BYTES : end * ID_BYTES]


@dataclass(frozen=True, eq=False)
class _Entry:
    """A page whose rows hold prompt tokens."""

    page: int
    parent: bytes  # digest of the pages before this one
    digest: bytes | None  # None if the page is not full: no page can follow it
    key: bytes  # the token ids in the page's first rows


class PrefixIndex:
    """Knows pages by the tokens in them and in all pages before them. Not thread-safe: the engine thread owns it.

    A digest names a whole prefix: the tokens of a page and of all pages before it. The pages of a prefix therefore form
    a chain, and each page has one parent.
    """

    def __init__(self) -> None:
        self._by_digest: dict[bytes, _Entry] = {}  # full pages
        self._by_page: dict[int, _Entry] = {}
        self._children: dict[bytes, list[_Entry]] = {}  # by the parent's digest, sorted by key

    def __contains__(self, page: int) -> bool:
        return page in self._by_page

    def __len__(self) -> int:
        return len(self._by_page)

    def page_of(self, digest: bytes) -> int | None:
        """Return the full page that ends this prefix, or None if no page does."""
        entry = self._by_digest.get(digest)
        return None if entry is None else entry.page

    def chain(self, digests: Items[bytes]) -> list[int]:
        """Return the pages of the longest known prefix.

        Args:
            digests: A prompt's digests, page by page.
        """
        pages = []
        for digest in digests:
            entry = self._by_digest.get(digest)
            if entry is None:
                break
            pages.append(entry.page)
        return pages

    def nearest(self, parent: bytes, key: bytes) -> tuple[int, int]:
        """Return the page that follows `parent` and begins with most of these tokens, and how many tokens agree.

        In a sorted list, a neighbour of the place where the tokens belong agrees with most of them. The count is 0 if
        no page follows `parent`.

        Args:
            parent: Digest of the pages before.
            key: Key of at most a page of tokens (`PromptPages.key`).
        """
        children = self._children.get(parent, ())
        place = bisect_left(children, key, key=_KEY)
        neighbours = children[max(place - 1, 0) : place + 1]
        counts = [(_num_common(key, entry.key), entry.page) for entry in neighbours]
        count, page = max(counts, default=(0, 0))
        return page, count

    def add(self, page: int, parent: bytes, key: bytes, digest: bytes | None) -> None:
        """Remember a page.

        Args:
            page: The page.
            parent: Digest of the pages before it.
            key: Key of the prompt tokens in its first rows.
            digest: Digest of the prefix that ends with this page; None if the page is not full.
        """
        assert page not in self._by_page and (digest is None or digest not in self._by_digest)
        entry = _Entry(page, parent, digest, key)
        self._by_page[page] = entry
        if digest is not None:
            self._by_digest[digest] = entry
        siblings = self._children.setdefault(parent, [])
        siblings.insert(bisect_left(siblings, key, key=_KEY), entry)

    def forget(self, page: int) -> None:
        """Forget a page that will get other contents. Pages that follow it must have been forgotten before."""
        entry = self._by_page.pop(page)
        if entry.digest is not None:
            assert entry.digest not in self._children, "a page that follows would never be found again"
            del self._by_digest[entry.digest]
        siblings = self._children[entry.parent]
        siblings.remove(entry)
        if not siblings:
            del self._children[entry.parent]


def _bytes_of(token_ids: Items[int]) -> bytes:
    ids = array("I", token_ids)  # Python fills an array of unsigned numbers twice as fast as one of signed
    if sys.byteorder == "little":
        ids.byteswap()
    return ids.tobytes()


def _num_common(first: bytes, second: bytes) -> int:
    """Return the number of ids that both keys begin with."""
    length = min(len(first), len(second))
    if first[:length] == second[:length]:
        return length // ID_BYTES
    return next(index for index in range(length) if first[index] != second[index]) // ID_BYTES
