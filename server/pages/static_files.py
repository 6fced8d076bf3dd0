"""Scripts, styles and pictures of the pages. They are small, so they stay in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response

from server.middleware.api_error import ApiError

_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
_YEAR_SECONDS = 365 * 86_400


@dataclass(frozen=True)
class _File:
    content: bytes
    kind: str
    version: str  # hash of the content


class StaticFiles:
    """Serves the files in `server/static`."""

    def __init__(self) -> None:
        self._files = dict(_read(files("server") / "static", ""))

    def address(self, name: str) -> str:
        """Return the address of a file. It changes with the file's content, so browsers may keep the file."""
        return f"/static/{name}?v={self._files[name].version}"

    async def show(self, request: Request) -> Response:
        """GET /static/NAME: send a file. Raises `ApiError` if there is none of this name."""
        file = self._files.get(str(request.path_params["name"]))
        if file is None:
            raise ApiError(404, "There is no such file.")
        is_current = request.query_params.get("v") == file.version
        headers = {
            "cache-control": f"public, max-age={_YEAR_SECONDS}, immutable" if is_current else "no-cache",
            "cross-origin-resource-policy": "same-origin",
        }
        return Response(file.content, 200, headers, media_type=file.kind)


def _read(folder: Traversable, prefix: str) -> Iterator[tuple[str, _File]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read(entry, f"{prefix}{entry.name}/")
            continue
        ending = entry.name[entry.name.rfind(".") :]
        if ending in _KINDS:
            content = entry.read_bytes()
            version = hashlib.blake2b(content, digest_size=6).hexdigest()
            yield prefix + entry.name, _File(content, _KINDS[ending], version)
