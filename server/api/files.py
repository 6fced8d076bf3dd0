"""The endpoints of files: upload, list, read, download, delete."""

from __future__ import annotations

import hashlib

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from jobs.errors import FileInUse
from jobs.records.object_id import is_object_id
from jobs.uploads.stored_file import PURPOSES, StoredFile
from server.access.caller import caller_of
from server.api.body_checks import MAX_EXPIRY_SECONDS, expiry_seconds, invalid_value, whole_number
from server.api.download import content_reply
from server.api.listing import json_reply, listing_of, page_of
from server.api.repeats import repeat_of
from server.middleware.api_error import ApiError, not_repeatable
from server.state import Services
from server.upload.form import Form
from server.upload.receive import add_file, receive_file

_MAX_PAGE = 10_000
_KNOWN_FIELDS = ("purpose", "expires_after[anchor]", "expires_after[seconds]")


class FileObject(msgspec.Struct, frozen=True):
    """A file, as OpenAI's clients read it."""

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    expires_at: int | None
    object: str = "file"
    status: str = "processed"  # clients wait for this status; there is nothing to process
    status_details: str | None = None


def object_of(file: StoredFile) -> FileObject:
    """Return a file as clients see it."""
    expires_at = None if file.expires_at is None else int(file.expires_at)
    return FileObject(file.id, file.size, int(file.created_at), file.filename, file.purpose, expires_at)


class FilesApi:
    """Handles the requests under /v1/files."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def upload(self, request: Request) -> Response:
        """POST /v1/files: store the file of a form."""
        caller, services = caller_of(request.scope), self._services
        _, stored = await receive_file(request, services, caller, _lifetime_of)
        repeat = repeat_of(request.headers, caller, "file", _digest_of(stored))
        return json_reply(object_of(await add_file(services, caller.project, stored, repeat)))

    async def listing(self, request: Request) -> Response:
        """GET /v1/files: list files."""
        query, services = request.query_params, self._services
        page = page_of(query, "file", _MAX_PAGE, _MAX_PAGE)
        said = query.get("purpose")
        purpose = next((known for known in PURPOSES if known == said), None)
        if said and purpose is None:  # one of OpenAI's other purposes: there are no such files
            return json_reply(listing_of([], page))
        project = caller_of(request.scope).project
        files = await services.store_threads.run(services.stores.files.page, project, purpose, page)
        return json_reply(listing_of([object_of(file) for file in files], page))

    async def show(self, request: Request) -> Response:
        """GET /v1/files/ID: return the record of a file."""
        return json_reply(object_of(await self._file(request)))

    async def content(self, request: Request) -> Response:
        """GET and HEAD /v1/files/ID/content: download a file, or a part of it."""
        file, services = await self._file(request), self._services
        project = caller_of(request.scope).project
        stream = await services.disk_threads.run(services.stores.content.open, project, file.id)
        if stream is None:
            raise no_such_file(file.id)
        return content_reply(request, file, stream, services.disk_threads)

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/files/ID: remove a file."""
        file_id, services = _id_in(request), self._services
        project = caller_of(request.scope).project
        try:
            removed = await services.store_threads.run(services.stores.files.remove, project, file_id)
        except FileInUse as error:
            raise not_repeatable(409, str(error), "file_in_use") from None
        if not removed:
            raise no_such_file(file_id)
        await services.disk_threads.run(services.stores.content.remove, project, file_id)
        return json_reply({"id": file_id, "object": "file", "deleted": True})

    async def _file(self, request: Request) -> StoredFile:
        file_id, services = _id_in(request), self._services
        project = caller_of(request.scope).project
        file = await services.store_threads.run(services.stores.files.get, project, file_id)
        if file is None:
            raise no_such_file(file_id)
        return file


def no_such_file(file_id: str, param: str = "id") -> ApiError:
    """Return the error for a file that the project does not have."""
    return ApiError(404, f"No such File object: {file_id[:100]}", param=param)


def _id_in(request: Request) -> str:
    """Return the id in the path. Raises `ApiError` if it cannot be the id of a file."""
    file_id = str(request.path_params["id"])
    if not is_object_id("file", file_id):
        raise no_such_file(file_id)
    return file_id


def _lifetime_of(form: Form) -> int:
    """Return the lifetime of a file in seconds, after a check of all fields of its form. Raises `ApiError`."""
    for name in form.fields:
        if name not in _KNOWN_FIELDS:
            raise ApiError(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    purpose = form.fields.get("purpose")
    if purpose is None:
        raise ApiError(
            400, "Missing required parameter: 'purpose'.", param="purpose", code="missing_required_parameter"
        )
    if purpose != "batch":
        raise invalid_value("purpose", purpose, "'batch', the only purpose that this service has")
    anchor, seconds = form.fields.get("expires_after[anchor]"), form.fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return MAX_EXPIRY_SECONDS
    number = whole_number(seconds or "")
    return expiry_seconds(anchor, seconds if number is None else number, "expires_after")


def _digest_of(file: StoredFile) -> str:
    """Return the hash of what a repetition of an upload sends again."""
    return hashlib.sha256(f"{file.digest}\0{file.filename}".encode()).hexdigest()
