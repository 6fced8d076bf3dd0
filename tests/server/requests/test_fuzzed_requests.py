"""Whatever a client sends, it gets an answer in OpenAI's form, and never a 500."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from jobs.records.object_id import new_object_id
from server.app import make_app
from server.state import Services
from tests.server.files.test_files import FILE, PURPOSE, form
from tests.server.in_process import services_in_memory

METHODS = ["GET", "POST", "DELETE", "HEAD", "PUT", "PATCH", "OPTIONS", "get", "B\x00D"]
JSON_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    "",
    "x",
    "24h",
    "10s",
    "\x00",
    "é" * 300,
    [],
    {},
    [[]],
    {"a": {}},
]
WORDS = [
    "files",
    "batches",
    "models",
    "content",
    "cancel",
    "results",
    "v1",
    "..",
    "",
    "%2F",
    "é",
    "\x00",
    "health",
    "metrics",
]
HEADERS = [b"range", b"if-range", b"if-none-match", b"idempotency-key", b"x-stainless-retry-count", b"content-length"]
VALUES = [
    b"",
    b"bytes=0-1",
    b"bytes=-9",
    b"bytes=5-",
    b"bytes=99999999999999999999-",
    b"*",
    b"1",
    b"-1",
    b"\xff",
    b"9" * 5000,
]


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return services_in_memory(tmp_path)


class Fuzzer:
    """Draws requests, most of which are nearly good.

    Args:
        draw: Source of all choices.
    """

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self.known = [new_object_id("file", 1.0), new_object_id("batch", 1.0)]

    def request(self) -> tuple[dict[str, Any], list[bytes]]:
        """Return the scope and the body of a request."""
        draw = self._draw
        words = [draw.choice(WORDS + self.known) for _ in range(draw.randint(1, 4))]
        paths = ["/v1/files", "/v1/batches", f"/v1/files/{draw.choice(self.known)}", "/v1/" + "/".join(words)]
        paths += [f"/v1/files/{draw.choice(self.known)}/content", f"/v1/batches/{draw.choice(self.known)}/cancel"]
        path = draw.choice(paths)
        kind, body = self._form() if path == "/v1/files" else (b"application/json", self._json())
        headers = [(b"host", b"localhost"), (b"content-type", kind)]
        headers += [(draw.choice(HEADERS), draw.choice(VALUES)) for _ in range(draw.choice((0, 0, 1, 2)))]
        query = "&".join(
            f"{draw.choice(('limit', 'after', 'order', 'purpose'))}={draw.choice(words)}" for _ in range(2)
        )
        method = draw.choice(METHODS[:3]) if draw.random() < 0.8 else draw.choice(METHODS)
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": headers,
            "http_version": "1.1",
        }
        scope |= {"query_string": query.encode(), "root_path": "", "scheme": "http", "client": None, "server": None}
        return scope, self._pieces(body)

    def _json(self) -> bytes:
        draw = self._draw
        body: dict[str, Any] = {"input_file_id": draw.choice(self.known), "endpoint": "/v1/chat/completions"}
        body["completion_window"] = "24h"
        for _ in range(draw.randint(0, 2)):
            key = draw.choice([*body, "metadata", "output_expires_after", "other"])
            body[key] = draw.choice([*JSON_VALUES, {"anchor": "created_at", "seconds": draw.choice(JSON_VALUES)}])
        return self._damaged(json.dumps(body).encode())

    def _form(self) -> tuple[bytes, bytes]:
        extra = (self._draw.choice(["file", "purpose", "expires_after[seconds]", "x"]), None, b"1")
        request = form(*self._draw.sample([PURPOSE, FILE, extra], self._draw.randint(1, 3)))
        return self._damaged(request["headers"]["content-type"].encode()), self._damaged(request["content"])

    def _damaged(self, text: bytes) -> bytes:
        """Return the text, mostly as it is; else cut, doubled, or with other bytes somewhere."""
        draw, place = self._draw, self._draw.randrange(len(text) + 1)
        other = draw.choice([b"", b"\x00", b"\xff\xfe", b"\r\n", b"{" * 3000, b'"'])
        damaged = [text[:place], text + text, text[:place] + other + text[place + 1 :], other]
        return text if draw.random() < 0.5 else draw.choice(damaged)

    def _pieces(self, body: bytes) -> list[bytes]:
        size = self._draw.choice((1 + len(body) // 50, 20_000))
        return [body[first : first + size] for first in range(0, len(body), size)] or [b""]


async def answer_to(app: Any, scope: dict[str, Any], pieces: list[bytes]) -> tuple[int, dict[bytes, bytes], bytes]:
    """Send one request to the application. Returns status, headers and body of the answer."""
    waiting: list[dict[str, Any]] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])


async def fuzz(services: Services, number: int, seed: int) -> set[int]:
    """Send so many requests. Returns the statuses of the answers."""
    app, fuzzer, seen = make_app(services), Fuzzer(random.Random(seed)), set()
    for _ in range(number):
        scope, pieces = fuzzer.request()
        status, headers, body = await answer_to(app, scope, pieces)
        seen.add(status)
        assert status in (200, 206, 304) or 400 <= status < 500, (scope, pieces, body)
        if status >= 400:
            assert headers[b"content-type"] == b"application/json", (scope, body)
            assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
        elif body.startswith(b'{"id":') and len(fuzzer.known) < 50:
            fuzzer.known.append(json.loads(body)["id"])
    return seen


@pytest.mark.parametrize("number", [1500, pytest.param(100_000, marks=pytest.mark.slow)])
def test_no_request_gets_a_500_or_an_answer_of_another_form(services: Services, number: int) -> None:
    seen = asyncio.run(fuzz(services, number, seed=number))
    assert seen >= {200, 400, 404, 405}  # or the requests are all alike
