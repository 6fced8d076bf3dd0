"""The endpoints of batches: create, list, read, cancel."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from typing import Any

from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response

from jobs.batches.agenda import Entry
from jobs.batches.batch import Batch, BatchPhase
from jobs.batches.batch_records import change
from jobs.duration import parse_duration
from jobs.errors import InvalidInput, JobNotFound, QuotaExceeded
from jobs.records.object_id import is_object_id, new_object_id
from jobs.uploads.repeat import Repeat
from server.access.caller import caller_of
from server.api.batch_object import object_of
from server.api.body_checks import (
    Json,
    check_known,
    checked,
    expiry_seconds,
    invalid_value,
    object_in,
    read_body,
    required_text,
)
from server.api.files import no_such_file
from server.api.listing import json_reply, listing_of, page_of
from server.api.repeats import repeat_of
from server.batch_views import BatchViews
from server.middleware.api_error import ApiError, not_repeatable, retry_later
from server.state import Services

ENDPOINTS = (
    *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/score", "/v1/embeddings", "/v1/rerank"),
)
_KNOWN = ("input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after")
_MIN_WINDOW_SECONDS, _MAX_WINDOW_SECONDS = 10, 7 * 86_400
_MAX_METADATA, _MAX_KEY_CHARS, _MAX_VALUE_CHARS = 16, 64, 512
_DEFAULT_PAGE, _MAX_PAGE = 20, 100


class BatchesApi:
    """Handles the requests under /v1/batches."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._views = BatchViews(services.stores, services.store_threads)

    async def create(self, request: Request) -> Response:
        """POST /v1/batches: store a batch. The clerk imports it."""
        services, caller = self._services, caller_of(request.scope)
        stores, run = services.stores, services.store_threads.run
        body = await read_body(request, services.options.limits.body_bytes)
        batch = _batch_of(object_in(body), time.time())
        file = await run(stores.files.get, caller.project, batch.input_file_id)
        if file is None:
            raise no_such_file(batch.input_file_id, "input_file_id")
        if file.purpose != "batch":
            raise ApiError(
                400,
                f"The file {file.id} has the purpose '{file.purpose}'; the input of a batch needs the purpose 'batch'.",
                param="input_file_id",
                code="invalid_value",
            )
        repeat = repeat_of(request.headers, caller, "batch", hashlib.sha256(body).hexdigest())
        stored = await store_batch(services, caller.project, batch, repeat)
        (view,) = await self._views.of(caller.project, [stored])
        return json_reply(object_of(view))

    async def listing(self, request: Request) -> Response:
        """GET /v1/batches: list batches, newest first."""
        page = page_of(request.query_params, "batch", _DEFAULT_PAGE, _MAX_PAGE)
        project = caller_of(request.scope).project
        batches = await self._services.store_threads.run(self._services.stores.batches.page, project, page)
        views = await self._views.of(project, batches)
        return json_reply(listing_of([object_of(view) for view in views], page))

    async def show(self, request: Request) -> Response:
        """GET /v1/batches/ID: return a batch with its current counts."""
        project, batch_id = caller_of(request.scope).project, id_in(request)
        view = await self._views.get(project, batch_id)
        if view is None:
            raise no_such_batch(batch_id)
        return json_reply(object_of(view))

    async def cancel(self, request: Request) -> Response:
        """POST /v1/batches/ID/cancel: ask for the end of a batch. A second call changes nothing."""
        project, batch_id = caller_of(request.scope).project, id_in(request)
        batch = await cancel_batch(self._services, project, batch_id)
        (view,) = await self._views.of(project, [batch])
        return json_reply(object_of(view))


async def store_batch(services: Services, project: str, batch: Batch, repeat: Repeat | None = None) -> Batch:
    """Store a new batch, so that the clerk imports it. Returns the batch, or the one that an earlier try made.

    Raises:
        ApiError: The project has too many unfinished batches.
        RepeatDiffers: `BatchRecords.add` describes it.
    """
    stores, run = services.stores, services.store_threads.run
    # The entry comes first: a batch without an entry would never be imported, but an entry without a batch is
    # harmless.
    await run(stores.agenda.schedule, Entry(project, batch.id), batch.created_at)
    try:
        max_unfinished = services.limits_of(project).unfinished_batches
        return await run(stores.batches.add, project, batch, max_unfinished, repeat)
    except QuotaExceeded as error:
        raise retry_later(429, str(error), "rate_limit_exceeded", 30, "requests") from None


async def cancel_batch(services: Services, project: str, batch_id: str) -> Batch:
    """Ask for the end of a batch, and return the batch. A second call changes nothing.

    Raises:
        ApiError: The project has no such batch, or it has ended in another way.
    """
    stores, run = services.stores, services.store_threads.run
    now = time.time()
    batch = await run(change, stores.batches, project, batch_id, lambda batch: _cancelled(batch, now))
    if batch is None:
        raise no_such_batch(batch_id)
    if batch.phase.ended and batch.phase is not BatchPhase.CANCELLED:
        raise not_repeatable(409, f"Cannot cancel a batch with status '{batch.phase}'.")
    if batch.job_id is not None and not batch.phase.ended:
        with suppress(JobNotFound):
            await run(stores.jobs.control.request_cancel, batch.job_id)
    if not batch.phase.ended:
        await run(stores.agenda.schedule, Entry(project, batch_id), now)
    return batch


def _cancelled(batch: Batch, now: float) -> Batch | None:
    """Return the batch with a request to cancel, or None if that changes nothing."""
    if batch.phase.ended or batch.cancel_requested:
        return None
    return structs.replace(batch, cancelling_at=now)


def no_such_batch(batch_id: str) -> ApiError:
    """Return the error for a batch that the project does not have."""
    return ApiError(404, f"No batch found with id '{batch_id[:100]}'.", code="batch_not_found")


def id_in(request: Request) -> str:
    """Return the id in the path. Raises `ApiError` if it cannot be the id of a batch."""
    batch_id = str(request.path_params["id"])
    if not is_object_id("batch", batch_id):
        raise no_such_batch(batch_id)
    return batch_id


def _batch_of(body: dict[str, Json], now: float) -> Batch:
    """Return the new batch that a body describes. Raises `ApiError`."""
    check_known(body, _KNOWN)
    file_id = required_text(body, "input_file_id")
    endpoint = required_text(body, "endpoint")
    window = required_text(body, "completion_window")
    if not is_object_id("file", file_id):
        raise no_such_file(file_id, "input_file_id")
    if endpoint not in ENDPOINTS:
        raise invalid_value("endpoint", endpoint, f"one of {', '.join(ENDPOINTS)}")
    expires: Any = body.get("output_expires_after")
    return Batch(
        id=new_object_id("batch", now),
        endpoint=endpoint,
        input_file_id=file_id,
        completion_window=window,
        created_at=now,
        expires_at=now + window_seconds(window),
        metadata=_metadata(body.get("metadata")),
        output_expires_seconds=None if expires is None else _output_expiry(expires),
    )


def window_seconds(window: str) -> float:
    """Return the seconds of a completion window. Raises `ApiError` if it is not valid."""
    try:
        seconds = parse_duration(window)
    except InvalidInput:
        seconds = 0.0
    if not _MIN_WINDOW_SECONDS <= seconds <= _MAX_WINDOW_SECONDS:
        raise invalid_value("completion_window", window, "'24h', or another duration from '10s' to '7d'")
    return seconds


def _output_expiry(said: Json) -> int:
    checked(said, dict, "output_expires_after")
    check_known(said, ("anchor", "seconds"))
    return expiry_seconds(said.get("anchor"), said.get("seconds"), "output_expires_after")


def _metadata(said: Json) -> dict[str, str] | None:
    if said is None:
        return None
    metadata: dict[str, Json] = checked(said, dict, "metadata")
    if len(metadata) > _MAX_METADATA:
        raise invalid_value("metadata", f"{len(metadata)} pairs", f"an object of at most {_MAX_METADATA} pairs")
    for key, value in metadata.items():
        if len(key) > _MAX_KEY_CHARS:
            raise invalid_value("metadata", key, f"an object whose keys have at most {_MAX_KEY_CHARS} characters")
        if len(checked(value, str, f"metadata.{key}")) > _MAX_VALUE_CHARS:
            raise invalid_value(f"metadata.{key}", value, f"a string of at most {_MAX_VALUE_CHARS} characters")
    return metadata
