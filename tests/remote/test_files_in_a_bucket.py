"""What a store of files in a bucket does beside the laws of all stores (`test_file_stores.py`)."""

from __future__ import annotations

import pytest

from jobs.errors import InvalidInput, StoreUnavailable
from jobs.records.object_id import new_object_id
from jobs.uploads.object_file_store import ObjectFileStore
from tests.remote.conftest import S3

ID = new_object_id("file", 1_700_000_000)


@pytest.fixture
def files(s3: S3) -> ObjectFileStore:
    return ObjectFileStore(f"s3://{s3.bucket}/qwen/files/")


def test_nothing_is_in_the_bucket_of_an_unfinished_or_discarded_file(files: ObjectFileStore, s3: S3) -> None:
    writer = files.writer("p", ID)
    writer.write(b"x" * 100)
    assert (s3.keys(), s3.unfinished_uploads()) == (["qwen/files/store-id"], 0)
    writer.discard()
    assert s3.unfinished_uploads() == 0


def test_a_sweep_removes_unfinished_uploads_of_its_own(files: ObjectFileStore, s3: S3) -> None:
    s3.client.create_multipart_upload(Bucket=s3.bucket, Key=f"qwen/files/p/{ID}")
    s3.client.create_multipart_upload(Bucket=s3.bucket, Key="elsewhere")
    assert list(files.older_than(3600)) == []
    assert s3.unfinished_uploads() == 1  # this server says that every upload began in 2010


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
