"""What a store of files in a folder does beside the laws of all stores (`tests/remote/test_file_stores.py`)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from jobs.errors import OutputNotWritable
from jobs.records.object_id import new_object_id
from jobs.uploads.file_store import FolderStore


def test_only_the_owner_can_read_the_folder(tmp_path: Path) -> None:
    FolderStore(tmp_path / "deep" / "files")
    assert (tmp_path / "deep" / "files").stat().st_mode & 0o077 == 0


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
