"""Answer a download: all of a file, or the range that a client asks for."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import BinaryIO
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from jobs.uploads.stored_file import StoredFile
from server.in_threads import InThreads
from server.middleware.api_error import ApiError

_PIECE_BYTES = 2**18
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def content_reply(request: Request, file: StoredFile, stream: BinaryIO, threads: InThreads) -> Response:
    """Return the answer to GET or HEAD of a file's content. It closes the stream.

    The hash of the bytes is the ETag, so a client can resume a broken download with Range and If-Range. Several ranges
    in one request are answered with the whole file, as RFC 9110 allows.

    Raises:
        ApiError: The range is outside the file.
    """
    etag = f'"{file.digest}"'
    headers = {
        "accept-ranges": "bytes",
        "etag": etag,
        "content-disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
        "cache-control": "private, no-cache",
    }
    known = request.headers.get("if-none-match", "")
    if known == "*" or etag in [each.strip().removeprefix("W/") for each in known.split(",")]:
        stream.close()
        return Response(status_code=304, headers=headers)
    try:
        part = _range_of(request.headers, etag, file.size)
    except ApiError:
        stream.close()
        raise
    first, end = part or (0, file.size)
    headers["content-length"] = str(end - first)
    if part is not None:
        headers["content-range"] = f"bytes {first}-{end - 1}/{file.size}"
    status = 200 if part is None else 206
    if request.method == "HEAD":
        stream.close()
        return Response(status_code=status, headers=headers, media_type="application/octet-stream")
    stream.seek(first)
    return StreamingResponse(
        _pieces(stream, end - first, threads), status, headers, media_type="application/octet-stream"
    )


async def _pieces(stream: BinaryIO, left: int, threads: InThreads) -> AsyncIterator[bytes]:
    with stream:
        while left > 0:
            piece = await threads.run(stream.read, min(left, _PIECE_BYTES))
            if not piece:
                raise ConnectionError("the file is shorter than its record says")
            left -= len(piece)
            yield piece


def _range_of(headers: Headers, etag: str, size: int) -> tuple[int, int] | None:
    """Return first byte and end of the range that a request asks for. None for the whole file. Raises `ApiError`."""
    match = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if match is None or headers.get("if-range", etag) != etag or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if first == "":
        start, end = max(size - int(last), 0), size
        is_outside = int(last) == 0
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None  # not a valid range, so it is ignored
        is_outside = start >= size
    if is_outside:
        raise ApiError(
            416,
            f"The range is outside the file, which has {size:,} bytes.",
            code="range_not_satisfiable",
            headers={"content-range": f"bytes */{size}"},
        )
    return start, end
