"""A model hub on this machine: the part of its HTTP interface that a download uses."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Self

COMMITS = {"main": "a" * 40, "v1": "b" * 40}


@dataclass
class HubServer:
    """Serves `files` of one repository."""

    repository: str
    files: dict[str, dict[str, bytes]]  # revision -> path -> content
    gated: bool = False
    stall_after: int | None = None  # bytes after which a longer file's transfer stands still
    cut_after: int | None = None  # bytes after which the next longer file's connection is closed, once
    requests: list[str] = field(default_factory=list)  # "METHOD path", with the range asked for
    released: Event = field(default_factory=Event)

    def __enter__(self) -> Self:
        server = self
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": server}))
        self._http.daemon_threads = True
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def fetched_files(self) -> set[str]:
        """The files whose content was asked for."""
        return {found[1] for line in self.requests if (found := re.match(r"GET /\S+/resolve/\w+/(\S+)", line))}


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        wanted = self.headers.get("Range", "")
        self.hub.requests.append(f"{self.command} {self.path} {wanted}".strip())
        found = re.fullmatch(
            r"(?:/api(?:/models)?)?/(?P<repository>(?:datasets/)?[\w.-]+/[\w.-]+?)"
            r"(?:/(?P<action>revision|tree|resolve)/(?P<revision>[\w.-]+))?(?:/(?P<path>[^?]+))?(?:\?.*)?",
            self.path,
        )
        if found is None or found["repository"] != self.hub.repository:
            return self._refuse(404, "RepoNotFound")
        if self.hub.gated and found["action"] == "resolve":
            return self._refuse(403, "GatedRepo")
        commit = COMMITS.get(found["revision"] or "main", found["revision"])
        name = next((name for name, known in COMMITS.items() if known == commit), None)
        if name is None or name not in self.hub.files:
            return self._refuse(404, "RevisionNotFound")
        files = self.hub.files[name]
        if found["action"] == "tree":
            return self._json([{"type": "file", "path": p, "size": len(c), "oid": _oid(c)} for p, c in files.items()])
        if found["action"] == "resolve":
            return self._file(files[found["path"]], commit, wanted)
        siblings = [{"rfilename": path} for path in files]
        return self._json({"id": self.hub.repository, "sha": commit, "siblings": siblings})

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, content: bytes, commit: str, wanted: str) -> None:
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("ETag", f'"{_oid(content)}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(content) - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        stall, cut = self.hub.stall_after, self.hub.cut_after
        if stall is not None and len(content) > stall:
            self.wfile.write(content[start:stall])
            self.hub.released.wait()
        elif cut is not None and len(content) > cut:
            self.hub.cut_after = None
            self.wfile.write(content[start:cut])
            self.close_connection = True
        else:
            self.wfile.write(content[start:])


def _oid(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
