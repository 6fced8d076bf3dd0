"""What holds for the records of batches, wherever they are kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from msgspec import structs

from jobs.batches.batch import Batch, BatchError, BatchPhase, Counts
from jobs.batches.batch_records import change, next_revision
from jobs.batches.redis_records import RedisBatchRecords
from jobs.errors import QuotaExceeded, RecordDamaged
from jobs.project_keys import ProjectKeys
from jobs.stores.redis.connection.server import RedisServer
from jobs.uploads.file_records import Page
from jobs.uploads.repeat import Repeat
from tests.jobs.projects.conftest import ROOMY, Records, new_batch, new_file


def test_a_batch_is_what_was_added(records: Records) -> None:
    batch = structs.replace(new_batch(), metadata={"a": "é"}, errors=(BatchError("code", "text", 3, "param"),))
    assert records.batches.add("p", batch, 10) == batch
    assert records.batches.get("p", batch.id) == batch
    assert records.batches.get("other", batch.id) is None


def test_batches_of_several_projects_are_read_together(records: Records) -> None:
    one, two = (records.batches.add(project, new_batch(), 10) for project in ("p", "q"))
    places = [("q", two.id), ("p", two.id), ("p", one.id), ("q", two.id)]
    assert records.batches.get_each(places) == [two, None, one, two]


def test_a_damaged_record_stands_in_place_of_its_batch_only(client: redis.Redis) -> None:
    batches = RedisBatchRecords(RedisServer(client))
    good, bad, odd = (batches.add("p", new_batch(), 10) for _ in range(3))
    client.set(ProjectKeys("p").batch(bad.id), "no JSON")
    client.delete(ProjectKeys("p").batch(odd.id))
    client.lpush(ProjectKeys("p").batch(odd.id), "a list")
    found = batches.get_each([("p", each.id) for each in (bad, good, odd)])
    assert [type(each) for each in found] == [RecordDamaged, Batch, RecordDamaged]
    with pytest.raises(RecordDamaged, match=bad.id):
        batches.get("p", bad.id)


def test_pages_show_the_newest_batch_first(records: Records) -> None:
    batches = [records.batches.add("p", new_batch(), 10) for _ in range(5)]
    records.batches.add("other", new_batch(), 10)
    assert records.batches.page("p", Page(2)) == batches[:-3:-1]
    assert records.batches.page("p", Page(9, batches[3].id)) == batches[2::-1]


def test_of_two_changes_of_one_revision_the_second_changes_nothing(records: Records) -> None:
    batch = records.batches.add("p", new_batch(), 10)
    first = next_revision(structs.replace(batch, job_id="first"), batch)
    second = next_revision(structs.replace(batch, job_id="second"), batch)
    assert records.batches.save("p", first)
    assert not records.batches.save("p", second, [new_file()])
    assert records.batches.get("p", batch.id) == first
    assert records.files.page("p", None, Page(10)) == []
    assert not records.batches.save("other", next_revision(first, first))


def test_a_change_is_made_again_if_somebody_else_was_quicker(records: Records) -> None:
    batch = records.batches.add("p", new_batch(), 10)
    seen: list[int] = []

    def count_up(current: object) -> object:
        stored = records.batches.get("p", batch.id)
        assert stored is not None
        seen.append(stored.total)
        if len(seen) == 1:  # somebody else changes the batch between our read and our write
            assert records.batches.save("p", next_revision(structs.replace(stored, total=5), stored))
        return structs.replace(current, total=current.total + 1)  # type: ignore[type-var, attr-defined]

    changed = change(records.batches, "p", batch.id, count_up)  # type: ignore[arg-type]
    assert changed is not None
    assert (changed.total, changed.revision, seen) == (6, 3, [0, 5])
    assert records.batches.get("p", batch.id) == changed
    assert change(records.batches, "p", "batch_unknown", lambda each: each) is None
    assert change(records.batches, "p", batch.id, lambda _: None) == changed


def test_a_batch_ends_together_with_its_files(records: Records) -> None:
    batch = records.batches.add("p", new_batch(), 10)
    files = [new_file(30, "batch_output"), new_file(12, "batch_output")]
    ended = structs.replace(
        next_revision(batch, batch),
        phase=BatchPhase.COMPLETED,
        counts=Counts(3, 1, 10, 20),
        output_file_id=files[0].id,
        error_file_id=files[1].id,
    )
    assert records.batches.save("p", ended, files)
    assert records.batches.get("p", batch.id) == ended
    assert records.files.page("p", "batch_output", Page(10)) == files[::-1]
    assert records.files.size("p") == 42


def test_unfinished_batches_are_limited_per_project(records: Records) -> None:
    first, _ = (records.batches.add("p", new_batch(), 2) for _ in range(2))
    with pytest.raises(QuotaExceeded, match="at most 2 unfinished"):
        records.batches.add("p", new_batch(), 2)
    records.batches.add("other", new_batch(), 2)
    submitted = next_revision(structs.replace(first, phase=BatchPhase.SUBMITTED), first)
    records.batches.save("p", submitted)
    with pytest.raises(QuotaExceeded):
        records.batches.add("p", new_batch(), 2)
    records.batches.save("p", next_revision(structs.replace(submitted, phase=BatchPhase.CANCELLED), submitted))
    records.batches.add("p", new_batch(), 2)


def test_the_unfinished_batches_are_those_that_have_not_ended(records: Records) -> None:
    first, second, third = (records.batches.add("p", new_batch(), 10) for _ in range(3))
    records.batches.add("other", new_batch(), 10)
    submitted = next_revision(structs.replace(first, phase=BatchPhase.SUBMITTED, job_id="job-1"), first)
    records.batches.save("p", submitted)
    records.batches.save("p", next_revision(structs.replace(second, phase=BatchPhase.FAILED), second))
    assert sorted(records.batches.unfinished("p"), key=lambda batch: batch.id) == [submitted, third]
    assert records.batches.unfinished("nobody") == []


def test_a_batch_gets_no_room_for_more_lines_than_its_project_has_left(records: Records) -> None:
    first, second = (records.batches.add("p", new_batch(), 10) for _ in range(2))
    records.batches.reserve_lines("p", first.id, 3, 5, {})
    with pytest.raises(QuotaExceeded, match="has 3 lines, and 3 lines of the project p wait already"):
        records.batches.reserve_lines("p", second.id, 3, 5, {})
    records.batches.reserve_lines("other", second.id, 5, 5, {})
    records.batches.reserve_lines("p", second.id, 2, 5, {})


def test_lines_with_results_give_their_room_back(records: Records) -> None:
    first, second, third = (records.batches.add("p", new_batch(), 10) for _ in range(3))
    records.batches.reserve_lines("p", first.id, 3, 5, {})
    records.batches.reserve_lines("p", second.id, 3, 5, {first.id: 2})
    with pytest.raises(QuotaExceeded, match="3 lines of the project"):
        records.batches.reserve_lines("p", third.id, 3, 5, {first.id: 2, second.id: 1})
    records.batches.reserve_lines("p", third.id, 3, 5, {first.id: 0, second.id: 1})


def test_a_batch_without_room_of_its_own_counts_with_the_lines_that_wait(records: Records) -> None:
    before, batch = (records.batches.add("p", new_batch(), 10) for _ in range(2))
    with pytest.raises(QuotaExceeded, match="4 lines of the project"):
        records.batches.reserve_lines("p", batch.id, 2, 5, {before.id: 4})


def test_an_import_that_begins_again_takes_no_second_room(records: Records) -> None:
    batch = records.batches.add("p", new_batch(), 10)
    for _ in range(2):
        records.batches.reserve_lines("p", batch.id, 5, 5, {batch.id: 5})


def test_a_batch_that_has_ended_gives_its_room_back(records: Records) -> None:
    first, second = (records.batches.add("p", new_batch(), 10) for _ in range(2))
    records.batches.reserve_lines("p", first.id, 5, 5, {})
    submitted = next_revision(structs.replace(first, phase=BatchPhase.SUBMITTED), first)
    records.batches.save("p", submitted)
    with pytest.raises(QuotaExceeded):
        records.batches.reserve_lines("p", second.id, 5, 5, {})
    records.batches.save("p", next_revision(structs.replace(submitted, phase=BatchPhase.COMPLETED), submitted))
    records.batches.reserve_lines("p", second.id, 5, 5, {})


def test_of_many_imports_at_once_only_so_many_get_room_as_fit(records: Records) -> None:
    batches = [records.batches.add("p", new_batch(), 10) for _ in range(8)]

    def gets_room(batch: Batch) -> bool:
        try:
            records.batches.reserve_lines("p", batch.id, 3, 10, {})
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(len(batches)) as imports:
        assert sum(imports.map(gets_room, batches)) == 3


def test_a_batch_needs_its_input_only_until_it_is_validated(records: Records) -> None:
    file = records.files.add("p", new_file(), ROOMY)
    batch = records.batches.add("p", new_batch(file.id), 10)
    records.batches.save("p", next_revision(structs.replace(batch, phase=BatchPhase.SUBMITTED), batch))
    assert records.files.remove("p", file.id)


def test_a_retry_gets_the_batch_of_the_earlier_try(records: Records) -> None:
    first = records.batches.add("p", new_batch(), 1, Repeat("token", "digest", 600, is_retry=False))
    assert records.batches.add("p", new_batch(), 1, Repeat("token", "digest", 600, is_retry=True)) == first
    assert records.batches.page("p", Page(10)) == [first]


def test_a_removed_batch_is_gone_and_the_others_stay(records: Records) -> None:
    first, second = (records.batches.add("p", new_batch(), 10) for _ in range(2))
    ended = next_revision(structs.replace(first, phase=BatchPhase.COMPLETED), first)
    assert records.batches.save("p", ended)
    records.batches.remove("other", first.id)
    assert records.batches.get("p", first.id) == ended
    records.batches.remove("p", first.id)
    assert records.batches.get("p", first.id) is None
    assert records.batches.page("p", Page(10)) == [second]
