from __future__ import annotations

from array import array

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from engine.scheduling.page_allocator import PageAllocator


class PageAllocatorMachine(RuleBasedStateMachine):
    """Tables that grow, shrink to nothing and grow again, against a count kept beside them."""

    tables = Bundle("tables")

    def __init__(self) -> None:
        super().__init__()
        self.allocator = PageAllocator(num_pages=9, page_size=4)
        self.all: list[array[int]] = []

    @rule(target=tables)
    def new_table(self) -> array[int]:
        self.all.append(array("i"))
        return self.all[-1]

    @rule(table=tables, num_tokens=st.integers(0, 40))
    def reserve(self, table: array[int], num_tokens: int) -> None:
        before, free = list(table), self.allocator.num_free
        needed = max(0, -(-num_tokens // 4) - len(before))
        fits = self.allocator.reserve(table, num_tokens)
        assert fits == (needed <= free)
        assert list(table[: len(before)]) == before
        assert len(table) == len(before) + (needed if fits else 0)

    @rule(table=tables)
    def release(self, table: array[int]) -> None:
        expected = self.allocator.num_free + len(table)
        self.allocator.release(table)
        assert not table
        assert self.allocator.num_free == expected

    @invariant()
    def every_page_is_in_one_place(self) -> None:
        self.allocator.check_integrity(self.all)


PageAllocatorMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestPageAllocator = PageAllocatorMachine.TestCase


def test_the_sink_page_is_never_given_out() -> None:
    allocator, table = PageAllocator(num_pages=5, page_size=2), array("i")
    assert allocator.reserve(table, 8)
    assert sorted(table) == [1, 2, 3, 4]
    assert allocator.usage == 1
    assert not allocator.reserve(table, 9)


def test_the_integrity_check_finds_a_page_in_two_tables() -> None:
    allocator, table = PageAllocator(num_pages=5, page_size=2), array("i")
    allocator.reserve(table, 4)
    with pytest.raises(AssertionError, match="owners of each page"):
        allocator.check_integrity([table, array("i", table[:1])])


def test_the_integrity_check_finds_a_lost_page() -> None:
    allocator, table = PageAllocator(num_pages=5, page_size=2), array("i")
    allocator.reserve(table, 4)
    with pytest.raises(AssertionError, match="owners of each page"):
        allocator.check_integrity([])


@pytest.mark.parametrize(("num_pages", "page_size"), [(1, 4), (4, 0)])
def test_a_cache_without_room_is_refused(num_pages: int, page_size: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        PageAllocator(num_pages, page_size)
