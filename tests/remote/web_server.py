"""A web server on this machine that gives files, and can misbehave as servers do."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Self

from testing.environment.certificates import Certificates


@dataclass
class WebServer:
    """Serves files while the `with` block lasts."""

    files: dict[str, bytes] = field(default_factory=dict)  # path without its query -> content
    ranges: bool = True  # False: the whole file answers every request
    has_etag: bool = True
    redirects: dict[str, str] = field(default_factory=dict)  # path -> URL
    statuses: dict[str, int] = field(default_factory=dict)  # path -> status of each answer
    cuts: int = 0  # number of answers that end in the middle
    certificates: Certificates | None = None  # for TLS
    before_answer: Callable[[], None] = lambda: None
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # path, headers

    def __enter__(self) -> Self:
        self._http = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": self}))
        if self.certificates is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificates.certificate, self.certificates.key)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        scheme = "http" if self.certificates is None else "https"
        return f"{scheme}://127.0.0.1:{self._http.server_address[1]}"

    def ranges_of(self, path: str) -> list[str]:
        """The ranges that were asked for."""
        return [headers.get("range", "") for asked, headers in self.requests if asked.partition("?")[0] == path]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None: ...  # a client that does not trust the certificate goes away


class _Handler(BaseHTTPRequestHandler):
    web: WebServer

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        web = self.web
        web.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        web.before_answer()
        path = self.path.partition("?")[0]
        if path in web.redirects:
            return self._answer(302, b"", {"Location": web.redirects[path]})
        if path in web.statuses or path not in web.files:
            return self._answer(web.statuses.get(path, 404), b"no", {})
        content = web.files[path]
        mark = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        headers = {"ETag": f'"{mark}"'} if web.has_etag else {}
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked is None or not web.ranges:
            return self._answer(200, content, headers)
        start, stop = int(asked[1]), min(int(asked[2]) + 1, len(content))
        if start >= len(content):
            return self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        return self._answer(206, content[start:stop], headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.web.cuts > 0
        self.web.cuts -= cut
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = True
