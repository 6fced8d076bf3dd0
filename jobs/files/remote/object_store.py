"""Read and write objects of S3, Google Cloud Storage and Azure, through fsspec and its drivers."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jobs.errors import InvalidInput
from jobs.files.remote.driver_errors import BrokenTransfer, NoSuchObject, driver_error, missing_driver
from jobs.files.remote.http_file import FileVersion
from jobs.files.remote.urls import scheme_of, shown_url

_PART_BYTES = 8 * 2**20
_MAX_PARTS = 9000  # S3 takes 10,000
_S3_CONFIG = {"connect_timeout": 5, "read_timeout": 10, "retries": {"total_max_attempts": 2, "mode": "standard"}}


@dataclass(frozen=True)
class Driver:
    """A package that knows one kind of object store. It takes its settings from the environment."""

    package: str
    extra: str  # extra of qwen-batch that installs the driver
    login_hint: str
    options: Mapping[str, Any] = field(default_factory=dict)


DRIVERS = {
    "s3": Driver(
        "s3fs",
        "s3",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
        {"config_kwargs": _S3_CONFIG},
    ),
    "gs": Driver(
        "gcsfs", "gcs", "Log in with `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS."
    ),
    "az": Driver("adlfs", "azure", "Set AZURE_STORAGE_CONNECTION_STRING, or the account's name and key."),
}


@dataclass(frozen=True)
class StoredObject:
    """An object at a URL such as `s3://bucket/key`.

    Each method raises `InvalidInput` if the driver is not installed, the store refuses, or the bucket does not exist.
    """

    url: str

    @property
    def name(self) -> str:
        """The URL for messages."""
        return shown_url(self.url)

    def version(self) -> FileVersion:
        """Return the object's size and marks. Raises `NoSuchObject`."""
        info = self._call("be read", "info", self.url)
        if info.get("type") == "directory":
            raise InvalidInput(
                f"{self.name} is a folder, not an object.", f"Name its objects: '{self.name.rstrip('/')}/*'."
            )
        marks = (info.get("ETag") or info.get("etag"), info.get("LastModified") or info.get("updated"))
        etag, modified = (None if mark is None else str(mark) for mark in marks)
        return FileVersion(int(info["size"]), etag, modified)

    def fetch(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to `stop`. A transfer that breaks is repeated once."""
        try:
            data: bytes = self._call("be read", "cat_file", self.url, start=start, end=stop)
        except BrokenTransfer:
            data = self._call("be read", "cat_file", self.url, start=start, end=stop)
        if len(data) != stop - start:
            raise InvalidInput(f"{self.name} changed while it was being read.", "Submit it again once it is complete.")
        return data

    def matching(self) -> list[str]:
        """Return the URLs of the objects that match this URL as a pattern, sorted."""
        found = self._call("be listed", "glob", self.url, detail=True)
        if not found:
            self._call("be listed", "info", self._bucket())
        return sorted(f"{scheme_of(self.url)}://{key}" for key, info in found.items() if info["type"] == "file")

    def check_writable(self) -> None:
        """Check that the object can be written, and leave nothing behind."""
        if scheme_of(self.url) != "s3":
            self.exists()
            return
        bucket, _, key = self.url.partition("://")[2].partition("/")
        place = {"Bucket": bucket, "Key": key}
        begun = self._call("be written", "call_s3", "create_multipart_upload", **place)
        self._call("be written", "call_s3", "abort_multipart_upload", **place, UploadId=begun["UploadId"])

    def exists(self) -> bool:
        """Return whether the object is there."""
        try:
            self._call("be written", "info", self.url)
        except NoSuchObject:
            return False
        return True

    def put(self, path: str, size: int) -> None:
        """Make the object from a local file of `size` bytes. The object appears complete or not at all."""
        parts = {"chunksize": max(_PART_BYTES, size // _MAX_PARTS), "max_concurrency": 4}
        self._call("be written", "put_file", path, self.url, **(parts if scheme_of(self.url) == "s3" else {}))

    def remove(self) -> None:
        """Remove the object, if it exists."""
        with suppress(NoSuchObject):
            self._call("be removed", "rm_file", self.url)

    def below(self) -> list[tuple[str, float]]:
        """Return the objects below this URL: the rest of their keys, and when each was written (seconds since 1970)."""
        found = self._call("be listed", "find", self.url, detail=True)
        start = len(self.url.partition("://")[2]) + 1
        return [(key[start:], _written_at(info)) for key, info in found.items()]

    def abort_uploads(self, before: float) -> None:
        """Remove the parts of uploads that began before a time and never ended. Other stores than S3 do so themselves.

        Args:
            before: Seconds since 1970.
        """
        if scheme_of(self.url) != "s3":
            return
        bucket, _, prefix = self.url.partition("://")[2].partition("/")
        place = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else ""}
        found = self._call("be listed", "call_s3", "list_multipart_uploads", **place)
        for upload in found.get("Uploads", []):
            if upload["Key"].startswith(place["Prefix"]) and upload["Initiated"].timestamp() < before:
                begun = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                self._call("be written", "call_s3", "abort_multipart_upload", **begun)

    def _bucket(self) -> str:
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"

    def _call(self, what: str, method: str, *arguments: str, **options: Any) -> Any:  # noqa: ANN401 - no types there
        driver = DRIVERS[scheme_of(self.url)]
        try:
            for package in ("fsspec", driver.package):
                importlib.import_module(package)
        except ImportError:
            raise missing_driver(f"{scheme_of(self.url)}://", driver.package, driver.extra) from None
        try:
            store = self._store(driver)
            return getattr(store, method)(*arguments, **options)
        except KeyboardInterrupt:
            _cancel_transfers()  # transfers run on another thread, and would go on until this process ends
            raise
        except Exception as error:  # noqa: BLE001 - each driver raises errors of its own
            failure = driver_error(error, self.name, what, driver.login_hint)
        if isinstance(failure, NoSuchObject) and self._bucket_is_missing(store):
            failure = InvalidInput(f"{self.name} cannot {what}: its bucket does not exist.", "Check the URL.")
        raise failure

    def _store(self, driver: Driver) -> Any:  # noqa: ANN401
        import fsspec

        store = fsspec.filesystem(scheme_of(self.url), use_listings_cache=False, **driver.options)
        if driver.package == "s3fs":
            store.retries = 1  # botocore repeats requests; both together would take minutes
        return store

    def _bucket_is_missing(self, store: Any) -> bool:  # noqa: ANN401
        try:
            store.info(self._bucket())
        except FileNotFoundError:
            return True
        except Exception:  # noqa: BLE001 - the first error is the one to report
            return False
        return False


def _written_at(info: Mapping[str, Any]) -> float:
    """Return when an object was written, as its driver says it. An object without a time counts as new."""
    said = info.get("LastModified") or info.get("updated") or info.get("last_modified")
    if isinstance(said, str):
        said = datetime.fromisoformat(said)
    return said.timestamp() if isinstance(said, datetime) else time.time()


def _cancel_transfers() -> None:
    from fsspec.asyn import get_loop

    loop = get_loop()
    loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
