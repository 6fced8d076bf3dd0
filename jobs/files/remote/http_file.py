"""Read a file over HTTP by ranges, with the standard library."""

from __future__ import annotations

import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from jobs.errors import InvalidInput
from jobs.files.remote.kept_blocks import BLOCK_BYTES
from jobs.files.remote.urls import scheme_of

_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_NEEDS_LOGIN = frozenset({401, 403})
_RANGE = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class FileVersion:
    """Facts about a file's content, as its server states them."""

    size: int
    etag: str | None
    modified: str | None

    def same_as(self, other: FileVersion) -> bool:
        """Return whether both versions may have the same content.

        Times decide only if an ETag is missing, because their unit is a second.
        """
        if self.etag is not None and other.etag is not None:
            return (self.size, self.etag) == (other.size, other.etag)
        same_time = self.modified == other.modified or None in (self.modified, other.modified)
        return self.size == other.size and same_time


@dataclass(frozen=True)
class FirstAnswer:
    """A server's answer to the first request."""

    version: FileVersion | None  # None: the server gives only the whole file
    block: bytes  # the first block, if the server gives ranges


@dataclass(frozen=True)
class HttpFile:
    """A file on a web server.

    Every request is a GET, because a signed URL is often good for one method only. A request that fails for a passing
    reason is repeated.
    """

    url: str
    name: str  # for messages: the URL without its secrets
    secret_headers: Mapping[str, str] = field(default_factory=dict)  # for the URL's own host only
    login_hint: str = "The URL may have expired, or the file needs a login."
    timeout_seconds: float = 10.0  # without a byte from the server
    pauses: tuple[float, ...] = (0.3, 1.0)  # seconds before each further attempt

    def first_answer(self) -> FirstAnswer:
        """Ask for the first block.

        Raises:
            InvalidInput: The server cannot be reached, or gives no file.
        """
        return self._repeated(self._first_answer)

    def fetch(self, start: int, stop: int, version: FileVersion) -> bytes:
        """Return the bytes from `start` up to `stop`.

        Raises:
            InvalidInput: The server cannot be reached, or the file's version is another one.
        """
        return self._repeated(lambda: self._fetch(start, stop, version))

    def pieces(self) -> Iterator[bytes]:
        """Request the whole file, and yield it in pieces. Raises `InvalidInput` if the transfer fails."""
        try:
            with self._get(None) as response:
                expected, received = response.length, 0
                while piece := self._read(response, 2**20):
                    received += len(piece)
                    yield piece
            if expected is not None and received < expected:
                raise self._broken("the connection was cut")
        except _Broken as error:
            raise error.reported from None

    def _first_answer(self) -> FirstAnswer:
        try:
            with self._get((0, BLOCK_BYTES)) as response:
                if response.status == 206 and (version := _version(response.headers)) is not None:
                    return FirstAnswer(version, self._read(response))
                return FirstAnswer(None, b"")
        except _EmptyFile:
            return FirstAnswer(FileVersion(0, None, None), b"")

    def _fetch(self, start: int, stop: int, version: FileVersion) -> bytes:
        data = bytearray()
        while start + len(data) < stop:  # a server may send less than a range
            with self._get((start + len(data), stop)) as response:
                now = _version(response.headers)
                if response.status != 206 or now is None or not now.same_as(version):
                    raise InvalidInput(
                        f"{self.name} changed while it was being read.", "Submit it again once it is complete."
                    )
                piece = self._read(response)
            if not piece:
                raise self._broken("the server sends nothing")
            data += piece
        return bytes(data)

    def _repeated(self, action: Callable[[], _Result]) -> _Result:
        for pause in self.pauses:
            try:
                return action()
            except _Broken:
                time.sleep(pause)
        try:
            return action()
        except _Broken as error:
            raise error.reported from None

    @contextmanager
    def _get(self, byte_range: tuple[int, int] | None) -> Iterator[HTTPResponse]:
        request = urllib.request.Request(self.url, headers={"User-Agent": "qwen-batch"})  # noqa: S310 - http(s)
        if byte_range is not None:
            request.add_header("Range", f"bytes={byte_range[0]}-{byte_range[1] - 1}")
        for name, value in self.secret_headers.items():
            request.add_unredirected_header(name, value)
        try:
            response = _opener(self.name).open(request, timeout=self.timeout_seconds)
        except HTTPError as error:
            with error:
                raise self._refused(error) from None
        except (OSError, HTTPException, ValueError) as error:
            raise self._unreachable(error) from None
        with response:
            yield response

    def _read(self, response: HTTPResponse, size: int | None = None) -> bytes:
        try:
            return response.read(size)
        except (OSError, HTTPException):
            raise self._broken("the connection was cut") from None

    def _refused(self, error: HTTPError) -> Exception:
        if error.code == 416 and error.headers.get("Content-Range", "").endswith("/0"):
            return _EmptyFile()
        said = f"{error.code} {error.reason}".strip()
        if error.code in _TRANSIENT:
            return self._broken(f"the server says {said}")
        if error.code in _NEEDS_LOGIN:
            return InvalidInput(f"{self.name} cannot be read: the server says {said}.", self.login_hint)
        return InvalidInput(f"{self.name} cannot be read: the server says {said}.", "Check the URL.")

    def _unreachable(self, error: Exception) -> Exception:
        reason = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
        host = urlsplit(self.name if scheme_of(self.name) in ("http", "https") else self.url).netloc
        match reason:
            case ssl.SSLCertVerificationError():
                return InvalidInput(
                    f"{self.name} cannot be read: the certificate of {host} is not trusted: {reason.verify_message}.",
                    "If you trust its issuer, name the issuer's certificates in SSL_CERT_FILE.",
                )
            case socket.gaierror():
                return InvalidInput(
                    f"{self.name} cannot be read: the host {host} is not found.", "Check the name and the network."
                )
            case TimeoutError():
                return InvalidInput(
                    f"{self.name} cannot be read: {host} did not answer within {self.timeout_seconds:g} s.",
                    "Check the network and the proxy (HTTPS_PROXY).",
                )
        return self._broken(getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)

    def _broken(self, reason: str) -> _Broken:
        return _Broken(InvalidInput(f"{self.name} cannot be read: {reason}.", "Check the network, and try again."))


class _Broken(Exception):
    """A request failed for a reason that may pass."""

    def __init__(self, reported: InvalidInput) -> None:
        super().__init__(str(reported))
        self.reported = reported


class _EmptyFile(Exception):
    """A file of no bytes has no range."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects. Secret headers go along only to the same host, and nothing goes from https to http."""

    def __init__(self, name: str) -> None:
        self._name = name

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Return the next request."""
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is None:
            return None
        before, after = urlsplit(req.full_url), urlsplit(new.full_url)
        if before.scheme == "https" and after.scheme != "https":
            fp.close()
            raise InvalidInput(
                f"{self._name} cannot be read: the server redirects to a URL without TLS.", "Give that URL itself."
            )
        if (before.scheme, before.netloc) == (after.scheme, after.netloc):
            for name, value in req.unredirected_hdrs.items():
                if name != "Host":
                    new.add_unredirected_header(name, value)
        return new


def _opener(name: str) -> urllib.request.OpenerDirector:
    """Return what opens URLs of http and https only, through the proxy of the environment."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(name),
    ):
        opener.add_handler(handler)
    return opener


def _version(headers: HTTPMessage) -> FileVersion | None:
    """Return the version that an answer with a range tells, or None if it does not tell the file's size."""
    found = _RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is None:
        return None
    return FileVersion(int(found[1]), headers.get("ETag"), headers.get("Last-Modified"))
