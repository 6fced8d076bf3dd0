"""A client that repeats a request after a broken connection makes no second object."""

from __future__ import annotations

from typing import Any

import httpx
from openai import OpenAI

from tests.server.batches.test_batches import GOOD
from tests.server.conftest import chat_line, jsonl, upload
from tests.server.files.test_files import FILE, PURPOSE, form

AGAIN = {"x-stainless-retry-count": "1"}


def test_a_repeated_batch_is_the_batch_of_the_first_try(http: httpx.Client, client: OpenAI) -> None:
    body: dict[str, Any] = {"input_file_id": upload(client, jsonl(chat_line(1)))} | GOOD
    first, second = (http.post("/v1/batches", json=body, headers={"x-stainless-retry-count": "0"}) for _ in range(2))
    again = http.post("/v1/batches", json=body, headers=AGAIN)
    assert first.json()["id"] != second.json()["id"] == again.json()["id"]
    other = http.post("/v1/batches", json=body | {"metadata": {"a": "b"}}, headers=AGAIN)
    assert other.json()["id"] not in (first.json()["id"], second.json()["id"])


def test_a_repeated_upload_is_the_file_of_the_first_try(http: httpx.Client) -> None:
    first = http.post("/v1/files", **form(PURPOSE, FILE)).json()
    # A client that repeats a form draws a new boundary.
    request = form(PURPOSE, FILE, boundary="b1")
    again = http.post("/v1/files", **(request | {"headers": request["headers"] | AGAIN})).json()
    assert again == first
    renamed = form(PURPOSE, ("file", "other.jsonl", FILE[2]))
    assert http.post("/v1/files", **(renamed | {"headers": renamed["headers"] | AGAIN})).json()["id"] != first["id"]


def test_an_idempotency_key_stands_for_one_body(http: httpx.Client, client: OpenAI) -> None:
    body: dict[str, Any] = {"input_file_id": upload(client, jsonl(chat_line(1)))} | GOOD
    headers = {"idempotency-key": upload(client, jsonl(chat_line(1)))}  # any text that was never used
    first, again = (http.post("/v1/batches", json=body, headers=headers).json() for _ in range(2))
    assert first["id"] == again["id"]
    other = http.post("/v1/batches", json=body | {"metadata": {"a": "b"}}, headers=headers)
    assert (other.status_code, other.headers["x-should-retry"]) == (409, "false")
