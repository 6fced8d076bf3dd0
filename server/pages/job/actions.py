"""Actions of a visitor on a job: pause, resume, cancel, delete, run its failed lines again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from jobs.batches.batch import Batch
from jobs.errors import JobConflict, JobNotFound
from jobs.records.object_id import new_object_id
from jobs.submission.job_client import JobClient
from server.api.batches import cancel_batch, store_batch
from server.limits.rates import batch_rates
from server.middleware.api_error import ApiError
from server.pages.job.book import JobBook
from server.pages.job.entry import Entry
from server.pages.rendering import Renderer, redirect
from server.pages.visitor import Visitor
from server.state import Services


class JobActions:
    """Handles the forms of a job."""

    def __init__(self, services: Services, render: Renderer) -> None:
        self._services = services
        self._render = render
        self._run = services.store_threads.run
        self._client = JobClient(services.stores.jobs, services.hints)

    async def act(self, request: Request, visitor: Visitor, _fields: Mapping[str, str]) -> Response:
        """POST /jobs/ID/ACTION: do it, and go back to the job, or to the new one.

        Raises:
            ApiError: There is no such job or action, or the job's state forbids the action.
        """
        entry, action = await self._entry(request, visitor), str(request.path_params["action"])
        try:
            match action:
                case "pause":
                    await self._run(self._services.stores.jobs.control.pause, _job_id(entry))
                case "resume":
                    await self._run(self._client.resume, _job_id(entry))
                case "cancel":
                    await self._cancel(visitor, entry)
                case "again":
                    return redirect(f"/jobs/{await self._again(request, visitor, entry)}")
                case _:
                    raise ApiError(404, f"A job has no action {action[:50]!r}.")
        except JobConflict as error:
            raise ApiError(409, str(error)) from None
        return redirect(f"/jobs/{entry.id}")

    async def confirm_delete(self, request: Request, visitor: Visitor) -> Response:
        """GET /jobs/ID/delete: ask whether the visitor means it."""
        entry = await self._entry(request, visitor)
        return self._render.page(request, visitor, "delete", {"entry": entry})

    async def delete(self, request: Request, visitor: Visitor, _fields: Mapping[str, str]) -> Response:
        """POST /jobs/ID/delete: delete a job that has ended, with its results. Raises `ApiError` if it has not."""
        entry = await self._entry(request, visitor)
        if not entry.ended:
            raise ApiError(409, "The job has not ended, so it cannot be deleted. Cancel it first.")
        await self._services.disk_threads.run(self._delete, visitor.project, entry)
        return redirect("/")

    def _delete(self, project: str, entry: Entry) -> None:
        stores = self._services.stores
        if entry.job is not None:
            with suppress(JobNotFound):
                stores.jobs.control.delete(entry.job.id)
        if entry.batch is None:
            return
        for file_id in filter(None, (entry.batch.output_file_id, entry.batch.error_file_id)):
            stores.files.remove(project, file_id)
            stores.content.remove(project, file_id)
        stores.batches.remove(project, entry.batch.id)

    async def _cancel(self, visitor: Visitor, entry: Entry) -> None:
        if entry.batch is not None:
            await cancel_batch(self._services, visitor.project, entry.batch.id)
        else:
            await self._run(self._services.stores.jobs.control.request_cancel, entry.id)

    async def _again(self, request: Request, visitor: Visitor, entry: Entry) -> str:
        """Run failed lines again. Returns the id of the job that runs them.

        A job of the command line runs them itself. An ended batch never changes, so its file becomes a new batch, which
        takes over the completions of the old one.
        """
        if entry.batch is None:
            # It reads all results, which may take a while.
            await self._services.disk_threads.run(self._client.retry, entry.id)
            return entry.id
        if not entry.ended:
            raise ApiError(409, "The job has not ended. Its failed lines can run again when it has.")
        stores = self._services.stores
        if await self._run(stores.files.get, visitor.project, entry.batch.input_file_id) is None:
            raise ApiError(409, "The file of this job was deleted or has expired. Upload it again.")
        limits = self._services.limits_of(visitor.project)
        await self._services.rates.check(request.scope, batch_rates(visitor.caller.key_id, limits))
        again = _again(entry.batch, time.time())
        await store_batch(self._services, visitor.project, again)
        return again.id

    async def _entry(self, request: Request, visitor: Visitor) -> Entry:
        book, job_id = JobBook(self._services.stores, visitor), str(request.path_params["id"])
        return await self._run(book.get, job_id)


def _job_id(entry: Entry) -> str:
    if entry.job is None:
        raise JobConflict(f"The job is {entry.state}.", "It can be paused while it is queued or in progress.")
    return entry.job.id


def _again(batch: Batch, now: float) -> Batch:
    """Return a new batch of the same file, whose completed lines do not run again."""
    return Batch(
        id=new_object_id("batch", now),
        endpoint=batch.endpoint,
        input_file_id=batch.input_file_id,
        completion_window=batch.completion_window,
        created_at=now,
        expires_at=now + (batch.expires_at - batch.created_at),
        metadata=batch.metadata,
        output_expires_seconds=batch.output_expires_seconds,
        priority=batch.priority,
        reuse=True,
    )
