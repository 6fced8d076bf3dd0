"""What holds for the records of files, wherever they are kept."""

from __future__ import annotations

import pytest

from jobs.errors import FileInUse, QuotaExceeded, RepeatDiffers
from jobs.uploads.file_records import Page, Quota
from jobs.uploads.repeat import Repeat
from tests.jobs.projects.conftest import ROOMY, Records, new_batch, new_file


def test_a_file_is_what_was_added_until_it_is_removed(records: Records) -> None:
    file = new_file()
    assert records.files.add("p", file, ROOMY) == file
    assert records.files.get("p", file.id) == file
    assert records.files.size("p") == file.size
    assert records.files.remove("p", file.id)
    assert records.files.get("p", file.id) is None
    assert records.files.page("p", None, Page(10)) == []
    assert records.files.size("p") == 0
    assert not records.files.remove("p", file.id)


def test_a_project_sees_only_its_own_files(records: Records) -> None:
    file = records.files.add("one", new_file(), ROOMY)
    assert records.files.get("two", file.id) is None
    assert records.files.page("two", None, Page(10)) == []
    assert not records.files.remove("two", file.id)
    assert records.files.size("two") == 0
    assert records.files.get("one", file.id) == file


def test_several_files_are_read_in_the_order_of_their_ids(records: Records) -> None:
    first, second = (records.files.add("p", new_file(), ROOMY) for _ in range(2))
    ids = [second.id, new_file().id, first.id]
    assert records.files.get_each("p", ids) == [second, None, first]
    assert records.files.get_each("other", ids) == [None, None, None]
    assert records.files.get_each("p", []) == []


def test_pages_go_through_all_files_in_both_orders_even_if_the_object_of_the_cursor_is_gone(records: Records) -> None:
    files = [records.files.add("p", new_file(), ROOMY) for _ in range(7)]
    for newest_first in (True, False):
        wanted = files[::-1] if newest_first else files
        assert records.files.page("p", None, Page(3, None, newest_first)) == wanted[:3]
        assert records.files.page("p", None, Page(9, wanted[2].id, newest_first)) == wanted[3:]
    records.files.remove("p", files[3].id)
    assert records.files.page("p", None, Page(2, files[3].id, newest_first=False)) == files[4:6]


def test_a_listing_may_show_one_purpose(records: Records) -> None:
    uploaded, output = (
        records.files.add("p", new_file(purpose=purpose), ROOMY) for purpose in ("batch", "batch_output")
    )
    assert records.files.page("p", "batch", Page(10)) == [uploaded]
    assert records.files.page("p", "batch_output", Page(10)) == [output]
    assert records.files.page("p", None, Page(10)) == [output, uploaded]
    records.files.remove("p", output.id)
    assert records.files.page("p", "batch_output", Page(10)) == []


def test_a_file_that_exceeds_the_quota_is_not_added(records: Records) -> None:
    records.files.add("p", new_file(60), Quota(100, 2))
    with pytest.raises(QuotaExceeded, match="at most 100 bytes"):
        records.files.add("p", new_file(41), Quota(100, 2))
    records.files.add("p", new_file(40), Quota(100, 2))
    with pytest.raises(QuotaExceeded, match="at most 2 files"):
        records.files.add("p", new_file(0), Quota(100, 2))
    assert records.files.size("p") == 100
    assert len(records.files.page("p", None, Page(10))) == 2
    records.files.add("other", new_file(60), Quota(100, 2))


def test_a_retry_gets_the_file_of_the_earlier_try(records: Records) -> None:
    first = records.files.add("p", new_file(), ROOMY, Repeat("token", "digest", 600, is_retry=False))
    again = Repeat("token", "digest", 600, is_retry=True)
    assert records.files.add("p", new_file(), ROOMY, again) == first
    assert len(records.files.page("p", None, Page(10))) == 1
    with pytest.raises(RepeatDiffers):
        records.files.add("p", new_file(), ROOMY, Repeat("token", "another", 600, is_retry=True))
    records.files.remove("p", first.id)
    second = new_file()
    assert records.files.add("p", second, ROOMY, again) == second


def test_a_first_try_makes_a_new_file_whatever_was_uploaded_before(records: Records) -> None:
    once = Repeat("token", "digest", 600, is_retry=False)
    files = [records.files.add("p", new_file(), ROOMY, once) for _ in range(2)]
    assert len({file.id for file in files}) == 2
    assert records.files.add("p", new_file(), ROOMY, Repeat("token", "digest", 600, is_retry=True)) == files[1]


def test_a_retry_in_another_project_is_no_retry(records: Records) -> None:
    records.files.add("one", new_file(), ROOMY, Repeat("token", "digest", 600, is_retry=False))
    file = new_file()
    assert records.files.add("two", file, ROOMY, Repeat("token", "digest", 600, is_retry=True)) == file


def test_the_input_of_a_batch_that_is_being_validated_stays(records: Records) -> None:
    file = records.files.add("p", new_file(), ROOMY)
    records.batches.add("p", new_batch(file.id), 10)
    with pytest.raises(FileInUse, match=file.id):
        records.files.remove("p", file.id)
    assert records.files.get("p", file.id) == file
