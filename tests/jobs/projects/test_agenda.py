"""The agenda gives an entry to one clerk at a time, and again if that clerk dies."""

from __future__ import annotations

from jobs.batches.agenda import Entry
from tests.jobs.projects.conftest import Records

ONE, TWO = Entry("p", "file-1"), Entry("p", "batch_2")


def test_an_entry_is_taken_when_it_is_due_and_only_once(records: Records) -> None:
    records.agenda.schedule(ONE, records.now() - 1)
    records.agenda.schedule(TWO, records.now() + 600)
    assert records.agenda.take(10, 60) == [ONE]
    assert records.agenda.take(10, 60) == []


def test_a_taken_entry_is_due_again_after_its_time(records: Records) -> None:
    records.agenda.schedule(ONE, records.now() - 1)
    assert records.agenda.take(10, 0) == [ONE]
    assert records.agenda.take(10, 0) == [ONE]


def test_the_entries_that_are_due_longest_come_first(records: Records) -> None:
    records.agenda.schedule(ONE, records.now() - 1)
    records.agenda.schedule(TWO, records.now() - 5)
    assert records.agenda.take(1, 60) == [TWO]
    assert records.agenda.take(5, 60) == [ONE]


def test_a_dropped_entry_never_comes_back(records: Records) -> None:
    records.agenda.schedule(ONE, records.now() - 1)
    records.agenda.take(1, 0)
    records.agenda.drop(ONE)
    assert records.agenda.take(10, 0) == []
