"""The page on which a visitor submits a file, in our own format or in that of OpenAI's batches."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from jobs.batches.batch import NATIVE, Batch
from jobs.records.object_id import new_object_id
from server.api.batches import ENDPOINTS, store_batch, window_seconds
from server.api.body_checks import MAX_EXPIRY_SECONDS
from server.limits.rates import batch_rates, upload_rates
from server.middleware.api_error import ApiError
from server.pages.rendering import Renderer, redirect
from server.pages.visitor import Visitor, check_token
from server.state import Services
from server.upload.form import Form
from server.upload.receive import add_file, receive_file

_FIRST_LINE_BYTES = 2**20
_PRIORITY = re.compile(r"-?[0-9]{1,3}")
MAX_PRIORITY = 100


class SubmitPages:
    """Handles /submit. The file takes the same way as an upload of the API, and becomes a batch."""

    def __init__(self, services: Services, render: Renderer) -> None:
        self._services = services
        self._render = render

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """GET: show the form."""
        return await self._form(request, visitor)

    async def upload(self, request: Request, visitor: Visitor) -> Response:
        """POST: store the file and a batch of it, and go to the batch. A refused file is shown with its fault."""
        try:
            return redirect(f"/jobs/{await self._submitted(request, visitor)}")
        except ApiError as error:
            return await self._form(request, visitor, error)

    async def _submitted(self, request: Request, visitor: Visitor) -> str:
        """Return the id of the new batch. Raises `ApiError`."""

        def lifetime_of(form: Form) -> int:
            check_token(form.fields, visitor)
            _window(form.fields)  # before the file is kept
            _priority(form.fields)
            return MAX_EXPIRY_SECONDS

        services, caller = self._services, visitor.caller
        limits = services.limits_of(caller.project)
        rates = [*upload_rates(caller.key_id, limits), *batch_rates(caller.key_id, limits)]
        await services.rates.check(request.scope, rates)
        form, received = await receive_file(request, services, caller, lifetime_of)
        file = await add_file(services, visitor.project, received)
        first_line = await services.disk_threads.run(self._first_line, visitor.project, file.id)
        batch = _batch_of(form.fields, file.id, first_line, time.time())
        await store_batch(services, visitor.project, batch)
        return batch.id

    def _first_line(self, project: str, file_id: str) -> bytes:
        stream = self._services.stores.content.open(project, file_id)
        if stream is None:
            return b""
        with stream:
            head = stream.read(_FIRST_LINE_BYTES).removeprefix(codecs.BOM_UTF8)
        return head.lstrip().partition(b"\n")[0]

    async def _form(self, request: Request, visitor: Visitor, error: ApiError | None = None) -> Response:
        cards = await self._services.store_threads.shared("models", self._services.stores.jobs.fleet.models)
        values = {
            "models": [card.name for card in cards],
            "fault": "" if error is None else error.message,
            "max_bytes": self._services.limits_of(visitor.project).file_bytes,
            "max_priority": MAX_PRIORITY,
        }
        response = self._render.page(request, visitor, "submit", values, 200 if error is None else error.status)
        for name, value in ({} if error is None else error.headers).items():
            response.headers.setdefault(name, value)
        return response


def _batch_of(fields: Mapping[str, str], file_id: str, first_line: bytes, now: float) -> Batch:
    """Return the new batch of a form. The first line of its file decides the format."""
    window = _window(fields)
    endpoint = _endpoint_of(first_line)
    model = fields.get("model", "").strip() or None
    if endpoint == NATIVE and model is None:
        raise ApiError(400, "Choose a model: the lines of this file have our own format, in which the job names it.")
    return Batch(
        id=new_object_id("batch", now),
        endpoint=endpoint,
        input_file_id=file_id,
        completion_window=window,
        created_at=now,
        expires_at=now + window_seconds(window),
        model=model if endpoint == NATIVE else None,
        priority=_priority(fields),
    )


def _endpoint_of(first_line: bytes) -> str:
    """Return the endpoint that the first line names, or `NATIVE` for a line in our own format."""
    try:
        line: dict[str, Any] = msgspec.json.decode(first_line, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return NATIVE  # a very long first line; the import checks it
    if not {"custom_id", "body"} & line.keys():
        return NATIVE
    url = line.get("url")
    return url if url in ENDPOINTS else ENDPOINTS[0]


def _window(fields: Mapping[str, str]) -> str:
    """Return the time limit of a form. Raises `ApiError` if it is not valid."""
    window = fields.get("window", "").strip() or "24h"
    try:
        window_seconds(window)
    except ApiError:
        raise ApiError(
            400, f"The time limit {window[:50]!r} is not valid. Write a duration from 10s to 7d, such as 24h or 90m."
        ) from None
    return window


def _priority(fields: Mapping[str, str]) -> int:
    """Return the priority of a form. Raises `ApiError` if it is not valid."""
    said = fields.get("priority", "").strip() or "0"
    if not _PRIORITY.fullmatch(said) or abs(int(said)) > MAX_PRIORITY:
        raise ApiError(400, f"The priority {said[:50]!r} is not valid. It is a whole number from -100 to 100.")
    return int(said)
