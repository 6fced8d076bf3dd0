"""The endpoint of the results so far, which OpenAI does not have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from jobs.errors import JobNotFound
from jobs.files.results.result_line import result_line
from jobs.records.completion import Completion
from jobs.records.job import Job
from server.access.caller import caller_of
from server.api.batches import id_in, no_such_batch
from server.in_threads import InThreads
from server.middleware.api_error import ApiError
from server.state import Services

_PIECE_BYTES = 2**16


class ResultsApi:
    """Handles /v1/batches/ID/results."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def so_far(self, request: Request) -> Response:
        """GET: return all finished lines of a batch in input order, completed and failed ones.

        Raises:
            ApiError: The project has no such batch, or its job was deleted; then the files have the results.
        """
        services, batch_id = self._services, id_in(request)
        project = caller_of(request.scope).project
        run, stores = services.store_threads.run, services.stores
        batch = await run(stores.batches.get, project, batch_id)
        if batch is None:
            raise no_such_batch(batch_id)
        if batch.job_id is None:
            return _reply(None, iter(()), services.store_threads, is_complete=batch.phase.ended)
        try:
            job = await run(stores.jobs.jobs.get, batch.job_id)
        except JobNotFound:
            raise ApiError(
                404,
                f"The results of batch {batch_id} are in its files: {batch.output_file_id}, {batch.error_file_id}.",
                code="results_in_files",
            ) from None
        completions = await run(stores.jobs.jobs.results, job.id)
        return _reply(job, completions, services.store_threads, job.state.ended)


def _reply(job: Job | None, completions: Iterator[Completion], threads: InThreads, is_complete: bool) -> Response:
    headers = {} if is_complete else {"x-incomplete": "true"}
    return StreamingResponse(_pieces(job, completions, threads), 200, headers, media_type="application/jsonl")


async def _pieces(job: Job | None, completions: Iterator[Completion], threads: InThreads) -> AsyncIterator[bytes]:
    while job is not None and (piece := await threads.run(_next_piece, job, completions)):
        yield piece


def _next_piece(job: Job, completions: Iterator[Completion]) -> bytes:
    """Return the next lines, about `_PIECE_BYTES` of them. Empty at the end."""
    piece = bytearray()
    for completion in completions:
        piece += result_line(completion, job)
        if len(piece) >= _PIECE_BYTES:
            break
    return bytes(piece)
