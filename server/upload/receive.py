"""Receive a file: its bytes go from the socket to the file store, and then its record to Redis."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.requests import Request

from jobs.batches.agenda import Entry
from jobs.errors import OutputNotWritable, QuotaExceeded, RepeatDiffers, StoreFull
from jobs.records.object_id import new_object_id
from jobs.uploads.file_records import Quota
from jobs.uploads.repeat import Repeat
from jobs.uploads.stored_file import StoredFile
from server.access.caller import Caller
from server.api.body_checks import length_of
from server.middleware.api_error import ApiError, not_repeatable, retry_later
from server.state import Services
from server.upload.form import FILE_FIELD, Form, boundary_of, read_form, too_large
from server.upload.kept_file import KeptFile

_FORM_BYTES = 64 * 1024  # max size of the form without its file


async def receive_file(
    request: Request, services: Services, caller: Caller, lifetime_of: Callable[[Form], int]
) -> tuple[Form, StoredFile]:
    """Store the bytes of the file in a form. The caller must store its record next (`add_file`).

    Args:
        request: The request with the form.
        services: What handlers are given.
        caller: The sender.
        lifetime_of: Checks the fields of the form, and returns the lifetime of the file in seconds.

    Returns the form and the record of its file.

    Raises:
        ApiError: The form or its file is refused, or the project has no room. Nothing is stored.
    """
    max_bytes = services.limits_of(caller.project).file_bytes
    boundary = boundary_of(request.headers.get("content-type", ""))
    if length_of(request) > max_bytes + _FORM_BYTES:
        raise too_large(max_bytes)
    await _check_room(services, caller.project)
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
            lifetime = lifetime_of(form)
            await kept.end()
            await services.disk_threads.run(writer.commit)
        except OutputNotWritable:
            await services.disk_threads.run(writer.discard)
            raise retry_later(503, "The file store cannot be written at the moment.", "store_full", 30) from None
        except BaseException:
            writer.discard()
            raise
    now = time.time()
    return form, StoredFile(file_id, form.filename, "batch", writer.size, writer.digest(), now, now + lifetime)


async def add_file(services: Services, project: str, file: StoredFile, repeat: Repeat | None = None) -> StoredFile:
    """Store the record of a file whose bytes are stored. Returns the file of an earlier try, if there is one.

    Raises:
        QuotaExceeded: The project has no room for the file. Its bytes are removed.
        RepeatDiffers: `FileRecords.add` describes it.
    """
    stores, run = services.stores, services.store_threads.run
    try:
        if file.expires_at is not None:
            await run(stores.agenda.schedule, Entry(project, file.id), file.expires_at)
        stored = await run(stores.files.add, project, file, _quota_of(services, project), repeat)
    except (StoreFull, QuotaExceeded, RepeatDiffers):
        # After any other error there may be a record. Then the bytes stay, and the clerk sweeps what has none.
        await services.disk_threads.run(stores.content.remove, project, file.id)
        raise
    if stored.id != file.id:
        await services.disk_threads.run(stores.content.remove, project, file.id)
    services.meter.upload_bytes += file.size
    return stored


def _quota_of(services: Services, project: str) -> Quota:
    limits = services.limits_of(project)
    return Quota(limits.project_bytes, limits.project_files)


async def _check_room(services: Services, project: str) -> None:
    """Refuse an upload before its body is read, if the project has no room for anything."""
    max_bytes = services.limits_of(project).project_bytes
    if await services.store_threads.run(services.stores.files.size, project) >= max_bytes:
        raise not_repeatable(
            400,
            f"The files of project {project} use all of their {max_bytes:,} bytes. Delete files that nobody needs.",
            "storage_limit_exceeded",
        )
