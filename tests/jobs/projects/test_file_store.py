"""The bytes of files in a folder."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from jobs.errors import OutputNotWritable
from jobs.records.object_id import new_object_id
from jobs.uploads.file_store import FolderStore

ID = new_object_id("file", 1_700_000_000)


def test_a_file_is_readable_once_it_is_committed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "files")
    writer = store.writer("p", ID)
    writer.write(b"one ")
    assert store.open("p", ID) is None
    writer.write(b"two")
    writer.commit()
    assert (writer.size, writer.digest()) == (7, hashlib.sha256(b"one two").hexdigest())
    stream = store.open("p", ID)
    assert stream is not None
    with stream:
        stream.seek(4)
        assert stream.read(100) == b"two"
    assert store.open("other", ID) is None
    store.remove("p", ID)
    assert store.open("p", ID) is None
    store.remove("p", ID)


def test_nothing_is_left_of_a_discarded_file(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    writer = store.writer("p", ID)
    writer.write(b"x")
    writer.discard()
    assert list((tmp_path / "p").iterdir()) == []


def test_only_the_owner_can_read_the_folder(tmp_path: Path) -> None:
    FolderStore(tmp_path / "deep" / "files")
    assert (tmp_path / "deep" / "files").stat().st_mode & 0o077 == 0


def test_the_id_of_a_folder_never_changes(tmp_path: Path) -> None:
    assert FolderStore(tmp_path / "a").id() == FolderStore(tmp_path / "a").id()
    assert FolderStore(tmp_path / "a").id() != FolderStore(tmp_path / "b").id()


def test_a_sweep_finds_old_files_and_removes_old_unfinished_ones(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    old, new, unfinished = (new_object_id("file", 1_700_000_000 + number) for number in range(3))
    for file_id in (old, new):
        store.writer("p", file_id).commit()
    writer = store.writer("p", unfinished)
    past = time.time() - 7200
    for path in (tmp_path / "p").iterdir():
        if not path.name.startswith(new):
            os.utime(path, (past, past))
    assert list(store.older_than(3600)) == [("p", old)]
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == [old, new]
    writer.discard()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputNotWritable, match="file/files cannot be written"):
        FolderStore(tmp_path / "file" / "files")
