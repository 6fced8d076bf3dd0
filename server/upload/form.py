"""Read a multipart form from the socket, and pass the bytes of its file on as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header

from server.middleware.api_error import ApiError

MAX_FIELD_BYTES = 4096  # max size of a field that is no file
MAX_PARTS = 16
MAX_HEADER_BYTES = 4096
FILE_FIELD = "file"


@dataclass
class Form:
    """The fields of a form, and the name of its file. Parts may come in any order."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None  # None if there was no file


def boundary_of(content_type: str) -> str:
    """Return the boundary of a multipart form. Raises `ApiError` if the content is no such form."""
    kind, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not 0 < len(boundary) <= 200 or not boundary.isascii():
        raise ApiError(
            400,
            "Send the file as `multipart/form-data` with a boundary; the Content-Type of this request is "
            f"{content_type[:100] or 'missing'}.",
        )
    return str(boundary)


async def read_form(
    chunks: AsyncIterator[bytes], boundary: str, max_file_bytes: int, keep: Callable[[bytes], Awaitable[None]]
) -> Form:
    """Read a form to its end.

    Args:
        chunks: The body of the request.
        boundary: The boundary between the parts.
        max_file_bytes: Max size of the file.
        keep: Gets the bytes of the file, piece by piece.

    Raises:
        ApiError: The body is no complete form, has several files, or exceeds a limit.
    """
    reader = _Reader(Form(), max_file_bytes)
    try:
        with PushMultipartParser(
            boundary, max_header_size=MAX_HEADER_BYTES, max_segment_count=MAX_PARTS, header_charset="utf-8"
        ) as parser:
            async for chunk in chunks:
                if not chunk:
                    continue
                for event in parser.parse(chunk):
                    piece = reader.take(event)
                    if piece is not None:
                        await keep(piece)
    except ParserLimitReached as error:
        raise ApiError(413, f"A part of the form is too large: {error}.") from None
    except MultipartError as error:
        raise ApiError(400, f"The form cannot be read: {error}.") from None
    return reader.form


class _Reader:
    """Sorts the events of the parser into fields and the file."""

    def __init__(self, form: Form, max_file_bytes: int) -> None:
        self.form = form
        self._max_file_bytes = max_file_bytes
        self._name: str | None = None  # name of the current part
        self._value = bytearray()
        self._size = 0

    def take(self, event: MultipartSegment | bytes | bytearray | None) -> bytes | None:
        """Take the next event. Returns a piece of the file, or None if the event belongs to a field."""
        if isinstance(event, MultipartSegment):
            self._begin(event)
        elif event is None:
            self._end()
        elif self._name == FILE_FIELD:
            self._size += len(event)
            if self._size > self._max_file_bytes:
                raise too_large(self._max_file_bytes)
            return bytes(event)
        else:
            self._value += event
            if len(self._value) > MAX_FIELD_BYTES:
                raise ApiError(413, f"The field {self._name!r} is longer than {MAX_FIELD_BYTES:,} bytes.")
        return None

    def _begin(self, part: MultipartSegment) -> None:
        self._name = part.name[:100]
        self._value.clear()
        if self._name == FILE_FIELD:
            if self.form.filename is not None:
                raise ApiError(400, "The form has several files. Upload them one by one.", param=FILE_FIELD)
            self.form.filename = _safe_name(part.filename or "")

    def _end(self) -> None:
        if self._name is not None and self._name != FILE_FIELD:
            self.form.fields[self._name] = self._value.decode(errors="replace")


def too_large(max_bytes: int) -> ApiError:
    """Return the error for a file that is too large."""
    return ApiError(413, f"The file is too large. It may have at most {max_bytes:,} bytes.", param=FILE_FIELD)


def _safe_name(filename: str) -> str:
    """Return a client's file name for display: no folders, no control characters, at most 255 characters."""
    last = filename.replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in last if char.isprintable())[:255] or "upload.jsonl"
