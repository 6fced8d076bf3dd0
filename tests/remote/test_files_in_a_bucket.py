"""The HTTP service's files in an object store."""

from __future__ import annotations

import hashlib
import time

import pytest

from jobs.errors import InvalidInput, StoreUnavailable
from jobs.files.remote.kept_blocks import BLOCK_BYTES
from jobs.records.object_id import new_object_id
from jobs.uploads.object_file_store import ObjectFileStore
from tests.remote.conftest import S3

ID = new_object_id("file", 1_700_000_000)


@pytest.fixture
def files(s3: S3) -> ObjectFileStore:
    return ObjectFileStore(f"s3://{s3.bucket}/qwen/files/")


def test_a_file_is_readable_once_it_is_committed(files: ObjectFileStore, s3: S3) -> None:
    writer = files.writer("p", ID)
    writer.write(b"one ")
    assert files.open("p", ID) is None
    writer.write(b"two")
    writer.commit()
    assert (writer.size, writer.digest()) == (7, hashlib.sha256(b"one two").hexdigest())
    assert s3.get(f"qwen/files/p/{ID}") == b"one two"
    stream = files.open("p", ID)
    assert stream is not None
    with stream:
        stream.seek(4)
        assert stream.read(100) == b"two"
    assert files.open("other", ID) is None
    files.remove("p", ID)
    assert files.open("p", ID) is None
    files.remove("p", ID)


def test_any_part_of_a_large_file_can_be_read(files: ObjectFileStore) -> None:
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


def test_nothing_is_in_the_bucket_of_an_unfinished_or_discarded_file(files: ObjectFileStore, s3: S3) -> None:
    writer = files.writer("p", ID)
    writer.write(b"x" * 100)
    assert (s3.keys(), s3.unfinished_uploads()) == (["qwen/files/store-id"], 0)
    writer.discard()
    assert (s3.keys(), s3.unfinished_uploads()) == (["qwen/files/store-id"], 0)


def test_the_id_of_a_place_never_changes(files: ObjectFileStore, s3: S3) -> None:
    assert ObjectFileStore(f"s3://{s3.bucket}/qwen/files").id() == files.id()
    assert ObjectFileStore(f"s3://{s3.bucket}/other").id() != files.id()


def test_a_sweep_finds_old_files_and_removes_unfinished_uploads(files: ObjectFileStore, s3: S3) -> None:
    files.writer("p", ID).commit()
    s3.client.create_multipart_upload(Bucket=s3.bucket, Key=f"qwen/files/p/{ID}")
    s3.client.create_multipart_upload(Bucket=s3.bucket, Key="elsewhere")
    assert list(files.older_than(3600)) == []
    assert s3.unfinished_uploads() == 1  # this server says that every upload began in 2010
    deadline = time.monotonic() + 60
    while list(files.older_than(-60)) != [("p", ID)]:  # S3 writes times in whole seconds
        assert time.monotonic() < deadline


def test_a_store_that_cannot_be_reached_is_unavailable(
    files: ObjectFileStore, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StoreUnavailable, match="its server cannot be reached"):
        files.open("p", ID)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://nobody-has-it/files", "its bucket does not exist"),
        ("s3://", "is no place for files. Name a folder"),
        ("https://host/files", "is no place for files"),
        ("gs://bucket/files", "gs:// needs gcsfs"),
    ],
)
def test_a_place_that_cannot_be_used_is_named_at_the_start(s3: S3, url: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        ObjectFileStore(url)
