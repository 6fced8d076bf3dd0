"""Ids of files and batches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.records.object_id import ObjectKind, created_at_of, is_object_id, kind_of, new_object_id, smallest_id

TIMES = st.integers(0, 2**47).map(lambda milliseconds: milliseconds / 1000)


@given(TIMES, TIMES)
def test_ids_sort_by_time_and_tell_it(one: float, other: float) -> None:
    ids = {moment: new_object_id("file", moment) for moment in (one, other)}
    assert sorted(ids, key=lambda moment: ids[moment]) == sorted(ids) or int(one * 1000) == int(other * 1000)
    assert created_at_of(ids[one]) == int(one * 1000) / 1000


@pytest.mark.parametrize("kind", ["file", "batch"])
def test_an_id_has_the_form_of_its_kind_alone(kind: ObjectKind) -> None:
    new = new_object_id(kind, 1_700_000_000)
    assert kind_of(new) == kind
    assert [other for other in ("file", "batch") if is_object_id(other, new)] == [kind]


@pytest.mark.parametrize(
    "text", ["", "file-", "file-../../../../etc/passwd.....", "file-" + "i" * 26, "file-" + "0" * 27]
)
def test_other_texts_are_no_ids(text: str) -> None:
    assert kind_of(text) is None
    assert kind_of(new_object_id("file", 1.0) + "\n") is None


@given(TIMES, TIMES)
def test_the_smallest_id_of_a_moment_divides_earlier_ids_from_later_ones(one: float, other: float) -> None:
    limit = smallest_id("batch", one)
    assert is_object_id("batch", limit)
    assert (new_object_id("batch", other) >= limit) == (int(other * 1000) >= int(one * 1000))
