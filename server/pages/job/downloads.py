"""Download the results, the failed lines or the input of a job."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from jobs.files.results.kept_columns import NO_INPUT, KeptColumns
from jobs.files.results.result_line import result_line
from jobs.records.completion import Completion
from jobs.records.job import Job
from jobs.stores.protocol import JobStore
from server.api.download import content_reply
from server.in_threads import InThreads
from server.middleware.api_error import ApiError
from server.pages.job.book import JobBook
from server.pages.job.entry import Entry
from server.pages.rendering import HEADERS
from server.pages.visitor import Visitor
from server.state import Services

_PIECE_BYTES = 2**16


class Downloads:
    """Handles /jobs/ID/download/WHAT, in which WHAT is `results`, `errors` or `input`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """GET: send a file. The results of a job without files are written while they are sent.

        Raises:
            ApiError: There is nothing of this name to download.
        """
        services, what = self._services, str(request.path_params["what"])
        book = JobBook(services.stores, visitor)
        entry = await services.store_threads.run(book.get, str(request.path_params["id"]))
        file_id = _file_id(entry, what)
        if file_id is not None:
            return await self._stored(request, visitor, file_id)
        if what not in ("results", "errors") or entry.job is None:
            raise ApiError(404, f"This job has no {what[:50]} to download.")
        completions = await services.store_threads.run(services.stores.jobs.jobs.results, entry.job.id)
        if what == "errors":
            completions = (completion for completion in completions if completion.error is not None)
        pieces = _pieces(_lines(services.stores.jobs, entry.job, completions), services.disk_threads)
        stem = entry.name.rpartition("/")[2].removesuffix(".jsonl") or "job"
        name = quote(f"{stem}.{what}.jsonl", safe="")
        headers = HEADERS | {"content-disposition": f"attachment; filename*=UTF-8''{name}"}
        if not entry.ended:
            headers["x-incomplete"] = "true"
        return StreamingResponse(pieces, 200, headers, media_type="application/jsonl")

    async def _stored(self, request: Request, visitor: Visitor, file_id: str) -> Response:
        stores, services = self._services.stores, self._services
        file = await services.store_threads.run(stores.files.get, visitor.project, file_id)
        stream = await services.disk_threads.run(stores.content.open, visitor.project, file_id) if file else None
        if file is None or stream is None:
            raise ApiError(404, "This file was deleted or has expired.")
        return content_reply(request, file, stream, services.disk_threads)


def _file_id(entry: Entry, what: str) -> str | None:
    """Return the stored file that a download sends. None if there is none, or not yet."""
    batch = entry.batch
    if batch is None:
        return None
    return {"results": batch.output_file_id, "errors": batch.error_file_id, "input": batch.input_file_id}.get(what)


def _lines(store: JobStore, job: Job, completions: Iterator[Completion]) -> Iterator[bytes]:
    columns = KeptColumns(store, job) if job.spec.has_columns else None
    for completion in completions:
        yield result_line(completion, job, columns.of(completion.index) if columns is not None else NO_INPUT)


async def _pieces(lines: Iterator[bytes], threads: InThreads) -> AsyncIterator[bytes]:
    while piece := await threads.run(_next_piece, lines):
        yield piece


def _next_piece(lines: Iterator[bytes]) -> bytes:
    """Return the next lines, about `_PIECE_BYTES` of them. Empty at the end."""
    piece = bytearray()
    for line in lines:
        piece += line
        if len(piece) >= _PIECE_BYTES:
            break
    return bytes(piece)
