"""What every answer has, and what is refused before any handler sees it."""

from __future__ import annotations

import re

import httpx
import pytest

HEADERS = {
    "x-request-id": r"req_[0-9a-f]{24}",
    "openai-processing-ms": r"\d+",
    "openai-version": "2020-10-01",
    "x-content-type-options": "nosniff",
    "content-type": "application/json",
}


@pytest.mark.parametrize(
    ("method", "path", "status", "message", "code"),
    [
        ("GET", "/v1/foo", 404, "Invalid URL (GET /v1/foo)", None),
        ("GET", "/v1/files/", 404, "Invalid URL (GET /v1/files/)", None),
        ("GET", "/chat", 404, "Invalid URL (GET /chat)", None),
        (
            "POST",
            "/chat/completions",
            404,
            "Invalid URL (POST /chat/completions). The base URL of a client must end with /v1",
            None,
        ),
        ("GET", "/models/demo", 404, "Invalid URL (GET /models/demo). The base URL of a client must end", None),
        ("POST", "/v1/uploads", 404, "Resumable uploads are not supported.", None),
        ("GET", "/v1/responses/resp_1", 404, "No response is kept.", None),
        ("PUT", "/v1/files", 405, "Not allowed to PUT on /v1/files. Allowed: GET, HEAD, POST.", "method_not_supported"),
        ("DELETE", "/v1/batches", 405, "Not allowed to DELETE on /v1/batches.", "method_not_supported"),
        ("GET", "/v1/models/no%2Fsuch", 404, "The model 'no/such' does not exist", "model_not_found"),
    ],
)
def test_every_error_has_openais_form_and_headers(
    http: httpx.Client, method: str, path: str, status: int, message: str, code: str | None
) -> None:
    answer = http.request(method, path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (status, code, "invalid_request_error")
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].startswith(message)
    for name, pattern in HEADERS.items():
        assert re.fullmatch(pattern, answer.headers[name]), name
    if status == 405:
        assert answer.headers["allow"] in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", ""])
def test_a_page_of_another_host_cannot_use_a_local_service(http: httpx.Client, host: str) -> None:
    answer = http.get("/v1/files", headers={"host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "unknown_host")
    assert http.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "[::1]:8000", "10.0.0.7"])
def test_local_names_and_addresses_may_be_used(http: httpx.Client, host: str) -> None:
    assert http.get("/v1/models", headers={"host": host}).status_code == 200


def test_the_service_is_alive_and_ready(http: httpx.Client) -> None:
    assert http.get("/health").json() == {"status": "ok"}
    assert http.get("/ready").json() == {"status": "ready"}
