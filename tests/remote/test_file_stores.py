"""The laws of every store for the HTTP service's files: a folder, and an object store."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.files.remote.kept_blocks import BLOCK_BYTES
from jobs.records.object_id import new_object_id
from jobs.uploads.file_store import FileStore, FolderStore
from jobs.uploads.object_file_store import ObjectFileStore
from tests.remote.conftest import S3

ID = new_object_id("file", 1_700_000_000)


@dataclass(frozen=True)
class Place:
    """Where one kind of store keeps its bytes: a folder, or a bucket."""

    store_at: Callable[[str], FileStore]
    content: Callable[[str], bytes]  # of one file or object, by its path from here
    paths: Callable[[], list[str]]  # of all files or objects


def folder_at(root: Path) -> Place:
    def paths() -> list[str]:
        return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]

    return Place(lambda path: FolderStore(root / path), lambda path: (root / path).read_bytes(), paths)


@pytest.fixture(params=["folder", "object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return folder_at(tmp_path)
    s3: S3 = request.getfixturevalue("s3")
    return Place(lambda path: ObjectFileStore(f"s3://{s3.bucket}/{path}/"), s3.get, s3.keys)


@pytest.fixture
def files(place: Place) -> FileStore:
    return place.store_at("qwen/files")


def test_a_file_is_readable_once_it_is_committed(files: FileStore, place: Place) -> None:
    writer = files.writer("p", ID)
    writer.write(b"one ")
    assert files.open("p", ID) is None
    writer.write(b"two")
    writer.commit()
    assert (writer.size, writer.digest()) == (7, hashlib.sha256(b"one two").hexdigest())
    assert place.content(f"qwen/files/p/{ID}") == b"one two"
    stream = files.open("p", ID)
    assert stream is not None
    with stream:
        stream.seek(4)
        assert stream.read(100) == b"two"
    assert files.open("other", ID) is None


def test_a_removed_file_is_gone_and_may_be_removed_again(files: FileStore, place: Place) -> None:
    files.writer("p", ID).commit()
    assert f"qwen/files/p/{ID}" in place.paths()
    for _ in range(2):
        files.remove("p", ID)
        assert files.open("p", ID) is None
    assert place.paths() == ["qwen/files/store-id"]


def test_any_part_of_a_large_file_can_be_read(files: FileStore) -> None:
    content = b"".join(b"%08d" % number for number in range(BLOCK_BYTES // 8 + 1000))
    writer = files.writer("p", ID)
    writer.write(content)
    writer.commit()
    stream = files.open("p", ID)
    assert stream is not None
    with stream:
        stream.seek(BLOCK_BYTES - 5)
        assert stream.read(10) == content[BLOCK_BYTES - 5 : BLOCK_BYTES + 5]
        stream.seek(0)
        assert hashlib.sha256(stream.read()).digest() == hashlib.sha256(content).digest()


def test_nothing_is_left_of_a_discarded_file(files: FileStore, place: Place) -> None:
    writer = files.writer("p", ID)
    writer.write(b"x" * 100)
    writer.discard()
    assert files.open("p", ID) is None
    assert place.paths() == ["qwen/files/store-id"]


def test_the_id_of_a_store_belongs_to_its_place(files: FileStore, place: Place) -> None:
    assert place.store_at("qwen/files").id() == files.id()
    assert place.store_at("other").id() != files.id()


def test_a_sweep_finds_files_by_their_age(files: FileStore) -> None:
    files.writer("p", ID).commit()
    assert list(files.older_than(3600)) == []
    deadline = time.monotonic() + 60
    while list(files.older_than(-60)) != [("p", ID)]:  # S3 writes times in whole seconds
        assert time.monotonic() < deadline
