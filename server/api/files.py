"""The endpoints of files: upload, list, read, download, delete."""

from __future__ import annotations

import hashlib
import time

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from jobs.batches.agenda import Entry
from jobs.errors import FileInUse, OutputNotWritable, QuotaExceeded, RepeatDiffers, StoreFull
from jobs.records.object_id import is_object_id, new_object_id
from jobs.uploads.file_records import Quota
from jobs.uploads.file_store import FileWriter
from jobs.uploads.stored_file import PURPOSES, StoredFile
from server.access.caller import Caller, caller_of
from server.api.body_checks import MAX_EXPIRY_SECONDS, expiry_seconds, invalid_value, length_of, whole_number
from server.api.download import content_reply
from server.api.listing import json_reply, listing_of, page_of
from server.api.repeats import repeat_of
from server.borders.api_error import ApiError, not_repeatable, retry_later
from server.state import Services
from server.upload.form import FILE_FIELD, Form, boundary_of, read_form, too_large
from server.upload.kept_file import KeptFile

_MAX_PAGE = 10_000
_KNOWN_FIELDS = ("purpose", "expires_after[anchor]", "expires_after[seconds]")
_FORM_BYTES = 64 * 1024  # of everything in the form but the file


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
        max_bytes = services.limits_of(caller.project).file_bytes
        boundary = boundary_of(request.headers.get("content-type", ""))
        if length_of(request) > max_bytes + _FORM_BYTES:
            raise too_large(max_bytes)
        await self._check_room(caller)
        file_id = new_object_id("file", time.time())
        with services.uploads.taken(caller.project):
            writer = await services.disk_threads.run(services.stores.content.writer, caller.project, file_id)
            kept = KeptFile(writer, services.disk_threads)
            try:
                form = await read_form(request.stream(), boundary, max_bytes, kept.keep)
                if form.filename is None:
                    raise ApiError(
                        400, "Missing required parameter: 'file'.", param=FILE_FIELD, code="missing_required_parameter"
                    )
                lifetime = _lifetime_of(form)
                await kept.end()
                await services.disk_threads.run(writer.commit)
            except OutputNotWritable:
                await services.disk_threads.run(writer.discard)
                raise retry_later(503, "The file store cannot be written at the moment.", "store_full", 30) from None
            except BaseException:
                writer.discard()
                raise
        stored = await self._add(request, caller, _record_of(file_id, form, writer, lifetime))
        services.meter.upload_bytes += writer.size
        return json_reply(object_of(stored))

    def _quota(self, caller: Caller) -> Quota:
        limits = self._services.limits_of(caller.project)
        return Quota(limits.project_bytes, limits.project_files)

    async def _check_room(self, caller: Caller) -> None:
        """Refuse an upload before its body is read, if the project has no room for anything."""
        used = await self._services.store_threads.run(self._services.stores.files.size, caller.project)
        quota = self._quota(caller)
        if used >= quota.max_bytes:
            raise not_repeatable(
                400,
                f"The files of project {caller.project} use all of their {quota.max_bytes:,} bytes. "
                "Delete files that nobody needs.",
                "storage_limit_exceeded",
            )

    async def _add(self, request: Request, caller: Caller, file: StoredFile) -> StoredFile:
        """Store the record of a file whose bytes are stored. Returns the file of an earlier try, if there is one."""
        services, quota = self._services, self._quota(caller)
        digest = hashlib.sha256(f"{file.digest}\0{file.filename}".encode()).hexdigest()
        repeat = repeat_of(request.headers, caller, "file", digest)
        stores, entry = services.stores, Entry(caller.project, file.id)
        try:
            if file.expires_at is not None:
                await services.store_threads.run(stores.agenda.schedule, entry, file.expires_at)
            stored = await services.store_threads.run(stores.files.add, caller.project, file, quota, repeat)
        except (StoreFull, QuotaExceeded, RepeatDiffers):
            # After any other error there may be a record. Then the bytes stay, and the clerk sweeps what has none.
            await services.disk_threads.run(stores.content.remove, caller.project, file.id)
            raise
        if stored.id != file.id:
            await services.disk_threads.run(stores.content.remove, caller.project, file.id)
        return stored

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


def _record_of(file_id: str, form: Form, writer: FileWriter, lifetime: int) -> StoredFile:
    now = time.time()
    filename = form.filename or ""
    return StoredFile(file_id, filename, "batch", writer.size, writer.digest(), now, now + lifetime)
