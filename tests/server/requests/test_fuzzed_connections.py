"""Whatever bytes a connection brings, a real service with a real worker answers in OpenAI's form and writes no error.

`test_fuzzed_requests.py` sends more requests, without connections and without a model.
"""

from __future__ import annotations

import json
import random
import socket
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from testing.processes.valkey import ValkeyProcess
from testing.processes.worker_under_test import WorkerUnderTest
from tests.server.conftest import ServeProcess

PAGES = ("/", "/jobs", "/jobs/x", "/workers", "/submit", "/login", "/static/x", "/metrics", "/openapi.json", "/health")
ENDPOINTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "What is 2 + 3?"}]},
    "/v1/completions": {"prompt": "2 + 3 ="},
    "/v1/embeddings": {"input": "2 + 3"},
    "/v1/score": {"text_1": "2", "text_2": ["3", "4"]},
    "/v1/rerank": {"query": "2", "documents": ["3", "4"]},
    "/v1/batches": {"input_file_id": "file-1", "endpoint": "/v1/completions", "completion_window": "24h"},
}
SETTINGS = ("max_tokens", "temperature", "n", "stop", "stream", "seed", "tools", "response_format", "logprobs", "model")
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**400, "", "x", "\x00", "\ud800", "é" * 300, [], {}, [[]], {"a": {}}, [None]),
    *("auto", {"type": "json_object"}, {"type": "function", "function": {"name": "f"}}, [{"role": "tool"}]),
)
HEADERS = (
    *(
        "Range: bytes=0-1",
        "Authorization: Bearer x",
        "Content-Type: text/plain",
        "Accept-Encoding: gzip",
        "Host: other",
    ),
    *("Origin: null", "Cookie: session=\xff", "Content-Encoding: gzip", "Idempotency-Key: é", "Accept: text/html"),
)
FRAMES = (  # after these a server may read on, or close the connection without an answer
    *("Content-Length: 7", "Content-Length: -1", "Transfer-Encoding: chunked", "Transfer-Encoding: x"),
    *("Expect: 100-continue", "Upgrade: websocket", f"X-Long: {'x' * 70_000}"),
)
DAMAGE = (b"", b"\x00", b"\xff\xfe", b"\r\n", b"\r\n\r\n", b"{" * 3000, b'"', b" ", b"GET / HTTP/1.1\r\n")
ALLOWED = (200, 204, 206, 303, 304, 307, 503)  # and 400 to 499; 503 where a request waits for a model


class Fuzzer:
    """Draws requests as bytes. Most are nearly good.

    Args:
        draw: Source of all choices.
    """

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def request(self) -> tuple[str, bytes, bool]:
        """Return the path, the bytes of a request, and True if its head is as HTTP wants it."""
        draw = self._draw
        page = draw.random() < 0.2
        path = draw.choice(PAGES) if page else draw.choice(tuple(ENDPOINTS))
        body = b"" if page else self._damaged(json.dumps(self._body(path)).encode(), 0.3)
        method = draw.choice(("GET", "GET", "POST", "HEAD", "DELETE") if page else ("POST",) * 9 + ("GET",))
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(body)}", "Connection: close"]
        lines += draw.sample(HEADERS, draw.choice((0, 0, 0, 1, 2)))
        frames = [draw.choice(FRAMES)] if draw.random() < 0.1 else []
        head = "\r\n".join([*lines, *frames, "", ""]).encode("latin-1")
        damaged = self._damaged(head, 0.1)
        return path, damaged + body, damaged == head and not frames

    def _body(self, path: str) -> dict[str, Any]:
        draw = self._draw
        body = {"model": "demo", "max_tokens": 3, **ENDPOINTS[path]}
        for _ in range(draw.randint(0, 2)):
            body[draw.choice((*ENDPOINTS[path], *SETTINGS))] = draw.choice(VALUES)
        return body

    def _damaged(self, text: bytes, share: float) -> bytes:
        draw, place = self._draw, self._draw.randrange(len(text) + 1)
        if draw.random() >= share:
            return text
        other = draw.choice(DAMAGE)
        return draw.choice([text[:place], text + text, text[:place] + other + text[place + 1 :]])


def answer_to(address: str, request: bytes, is_http: bool) -> tuple[int, str, bytes] | None:
    """Send bytes. Return status, content type and body of the answer; None if the connection ends without.

    The client ends its side at once if the server may wait for more, and then the server need not answer.
    """
    parts = urlsplit(address)
    assert parts.hostname and parts.port
    with socket.create_connection((parts.hostname, parts.port), 60) as connection:
        try:
            connection.sendall(request)
            if not is_http:
                connection.shutdown(socket.SHUT_WR)
            response = HTTPResponse(connection, method=request[:4].decode("latin-1").strip())
            response.begin()
            return response.status, response.headers.get_content_type(), response.read()
        except TimeoutError:
            raise
        except (OSError, HTTPException):
            return None


@pytest.mark.parametrize("number", [400, pytest.param(20_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_no_bytes_get_a_500_or_an_answer_of_another_form_and_the_log_stays_empty(
    valkey: ValkeyProcess, service: ServeProcess, worker: WorkerUnderTest, tmp_path: Path, number: int
) -> None:
    fuzzer, seen, silent = Fuzzer(random.Random(number)), set(), 0
    with ServeProcess(valkey, tmp_path, files=service.files) as fuzzed:
        quiet = fuzzed.log
        for _ in range(number):
            path, request, is_http = fuzzer.request()
            answer = answer_to(fuzzed.address, request, is_http)
            if answer is None:
                silent += 1
                assert not is_http, request[:2000]
                continue
            status, kind, body = answer
            seen.add(status)
            assert status in ALLOWED or 400 <= status < 500, (request[:2000], body)
            if is_http and status >= 400 and path.startswith("/v1"):
                assert kind == "application/json", (request[:2000], body)
                assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
        assert "Traceback" not in fuzzed.log.removeprefix(quiet)
    assert "Traceback" not in worker.log
    assert seen >= {200, 400, 404}  # or the requests are all alike
    assert silent < number / 5
