"""Open a URL as a source of rows."""

from __future__ import annotations

import glob
import io
from collections.abc import Callable
from typing import BinaryIO

from jobs.errors import InvalidInput
from jobs.files.remote.http_file import HttpFile
from jobs.files.remote.hub_files import HubPath
from jobs.files.remote.kept_blocks import KeptBlocks, KeptSpace, RemoteStream
from jobs.files.remote.object_store import DRIVERS, StoredObject
from jobs.files.remote.urls import http_url, scheme_of, shown_url
from jobs.files.sources.source import Source, copied

_BUFFER_BYTES = 2**20


def open_url(url: str, space: KeptSpace) -> Source:
    """Open a URL. Its content is fetched by ranges when it is read, and kept in `space`.

    A web server that gives no ranges sends the whole file now, into a temporary file.

    Raises:
        InvalidInput: The scheme is unknown, its driver is not installed, or the file cannot be read.
    """
    scheme, name = scheme_of(url), shown_url(url)
    if scheme in ("http", "https"):
        return _http_source(HttpFile(http_url(url), name), space)
    if scheme == "hf":
        return _http_source(HubPath.of(url).file(name), space)
    _check_known(url)
    object = StoredObject(url)
    version = object.version()

    def check() -> None:
        if not object.version().same_as(version):
            raise InvalidInput(f"{name} changed while it was being read.", "Submit it again once it is complete.")

    return _source(name, KeptBlocks(version.size, object.fetch, space), check)


def urls_matching(url: str) -> list[str]:
    """Return the URLs that a URL with a pattern stands for. A URL of http is never a pattern.

    Raises:
        InvalidInput: The scheme is unknown, its driver is not installed, or the store refuses.
    """
    if scheme_of(url) in ("http", "https") or not glob.has_magic(url):
        return [url]
    if scheme_of(url) == "hf":
        return HubPath.of(url).matching()
    _check_known(url)
    return StoredObject(url).matching()


def _check_known(url: str) -> None:
    if scheme_of(url) not in DRIVERS:
        raise InvalidInput(
            f"{scheme_of(url)}:// is not supported: {shown_url(url)}.",
            "Use https://, s3://, gs://, az:// or hf://, or a path.",
        )


def _http_source(file: HttpFile, space: KeptSpace) -> Source:
    answer = file.first_answer()
    version = answer.version
    if version is None:
        return copied(file.name, file.pieces())
    blocks = KeptBlocks(version.size, lambda start, stop: file.fetch(start, stop, version), space, answer.block)
    return _source(file.name, blocks, lambda: None)


def _source(name: str, blocks: KeptBlocks, check: Callable[[], None]) -> Source:
    """Return a source of blocks.

    Blocks that come one after another may be of two versions of the file. A pass after they have come therefore begins
    with `check`, which raises if the file has changed. One block is always of one version.
    """
    num_checked = 1

    def open_again() -> BinaryIO:
        nonlocal num_checked
        if blocks.num_fetched > num_checked:
            check()
            num_checked = blocks.num_fetched
        return io.BufferedReader(RemoteStream(blocks), _BUFFER_BYTES)

    return Source(name, open_again, lambda: None, check)
