"""Batches that are refused, fail, are cancelled or expire, and listings of batches."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from openai import BadRequestError, ConflictError, NotFoundError, OpenAI

from jobs.batches.redis_records import RedisBatchRecords
from jobs.records.object_id import new_object_id
from jobs.stores.redis.connection.server import RedisServer
from testing.processes.valkey import ValkeyProcess
from tests.jobs.projects.conftest import new_batch
from tests.server.conftest import chat_line, create, jsonl, lines_of, upload, wait_for

GOOD: dict[str, Any] = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
ABSENT = new_object_id("file", 1_700_000_000)
REFUSED: dict[str, tuple[Any, int, str, str | None, str | None]] = {
    "no JSON": (b"{", 400, "no valid JSON", None, None),
    "no object": ([], 400, "is an array; it must be an object", None, "invalid_type"),
    "no endpoint": (
        {"endpoint": None},
        400,
        "Missing required parameter: 'endpoint'.",
        "endpoint",
        "missing_required_parameter",
    ),
    "a number": ({"endpoint": 5}, 400, "expected a string, but got an integer", "endpoint", "invalid_type"),
    "another endpoint": (
        {"endpoint": "/v1/moderations"},
        400,
        "one of /v1/chat/completions",
        "endpoint",
        "invalid_value",
    ),
    "another key": ({"colour": 1}, 400, "Unknown parameter: 'colour'.", "colour", "unknown_parameter"),
    "a short window": ({"completion_window": "9s"}, 400, "from '10s' to '7d'", "completion_window", "invalid_value"),
    "a long window": ({"completion_window": "8d"}, 400, "from '10s' to '7d'", "completion_window", "invalid_value"),
    "an unknown file": ({"input_file_id": ABSENT}, 404, f"No such File object: {ABSENT}", "input_file_id", None),
    "no id of a file": ({"input_file_id": "../x"}, 404, "No such File object: ../x", "input_file_id", None),
    "much metadata": (
        {"metadata": {str(n): "" for n in range(17)}},
        400,
        "at most 16 pairs",
        "metadata",
        "invalid_value",
    ),
    "a long value": ({"metadata": {"a": "b" * 513}}, 400, "at most 512", "metadata.a", "invalid_value"),
    "metadata of numbers": ({"metadata": {"a": 1}}, 400, "expected a string", "metadata.a", "invalid_type"),
    "a short life": (
        {"output_expires_after": {"anchor": "created_at", "seconds": 5}},
        400,
        "from 3,600",
        "output_expires_after.seconds",
        "invalid_value",
    ),
}


@pytest.fixture(scope="module")
def uploaded(client: OpenAI) -> str:
    return upload(client, jsonl(chat_line(1)))


@pytest.mark.parametrize("what", REFUSED)
def test_a_bad_request_for_a_batch_is_refused(http: httpx.Client, uploaded: str, what: str) -> None:
    said, status, text, param, code = REFUSED[what]
    body = {"input_file_id": uploaded} | GOOD | said if isinstance(said, dict) else said
    sent: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer = http.post("/v1/batches", **sent)
    error = answer.json()["error"]
    assert answer.status_code == status, error
    assert error | {"message": ""} == {"message": "", "type": "invalid_request_error", "param": param, "code": code}
    assert text in error["message"]


def test_a_body_that_is_too_long_is_refused(http: httpx.Client) -> None:
    answer = http.post("/v1/batches", content=b'{"a": "' + b"x" * 11_000_000 + b'"}')
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "invalid_request_error")


def test_a_batch_fails_with_the_faults_of_its_lines(client: OpenAI) -> None:
    batch = wait_for(client, create(client, chat_line(1), '{"custom_id": ', chat_line(1)).id, "failed")
    assert batch.errors is not None
    faults = [(error.line, error.code, error.param) for error in batch.errors.data or []]
    assert faults == [(2, "invalid_json_line", None), (3, "duplicate_custom_id", "custom_id")]
    assert batch.failed_at is not None
    assert (batch.output_file_id, batch.error_file_id) == (None, None)
    with pytest.raises(ConflictError, match="Cannot cancel a batch with status 'failed'") as raised:
        client.batches.cancel(batch.id)
    assert raised.value.response.headers["x-should-retry"] == "false"


def test_a_cancelled_batch_has_an_error_for_each_line_that_did_not_run(
    http: httpx.Client, client: OpenAI, sleepy: str
) -> None:
    batch = wait_for(client, create(client, *(chat_line(n, model=sleepy) for n in range(3))).id, "in_progress")
    url = f"/v1/batches/{batch.id}/results"
    running = http.get(url)
    assert (running.status_code, running.text, running.headers["x-incomplete"]) == (200, "", "true")
    first = client.batches.cancel(batch.id)
    second = client.batches.cancel(batch.id)
    assert {first.status, second.status} <= {"cancelling", "cancelled"}
    done = wait_for(client, batch.id, "cancelled")
    assert client.batches.cancel(batch.id).status == "cancelled"
    assert (done.cancelling_at or 0) <= (done.cancelled_at or -1)
    lines = lines_of(client, done.error_file_id)
    assert [(line["custom_id"], line["error"]["code"]) for line in lines] == [
        (f"r{number}", "batch_cancelled") for number in range(3)
    ]
    assert done.request_counts is not None
    assert done.request_counts.to_dict() == {"total": 3, "completed": 0, "failed": 3}
    assert (done.output_file_id, done.error_file_id is None) == (None, False)
    ended = http.get(url)
    assert (ended.text.count("\n"), "x-incomplete" in ended.headers) == (3, False)
    with pytest.raises(BadRequestError, match="purpose 'batch_output'"):
        client.batches.create(input_file_id=str(done.error_file_id), **GOOD)


@pytest.mark.slow
def test_a_batch_that_was_cancelled_at_once_ends_whatever_the_import_did(client: OpenAI, sleepy: str) -> None:
    batch = create(client, chat_line(1, model=sleepy))
    client.batches.cancel(batch.id)
    done = wait_for(client, batch.id, "cancelled")
    assert (done.request_counts is not None) and done.request_counts.total in (0, 1)


def test_an_unknown_batch_is_not_found(client: OpenAI) -> None:
    for batch_id in (new_object_id("batch", 1.0), "batch_x", ABSENT):
        with pytest.raises(NotFoundError) as raised:
            client.batches.retrieve(batch_id)
        assert raised.value.code == "batch_not_found"


def test_the_client_pages_through_all_batches_newest_first(client: OpenAI, valkey: ValkeyProcess) -> None:
    with valkey.client() as redis:
        records = RedisBatchRecords(RedisServer(redis))
        new = [records.add("default", new_batch(), 1000).id for _ in range(45)]
    listed = [batch.id for batch in client.batches.list(limit=10)]
    assert [batch_id for batch_id in listed if batch_id in new] == new[::-1]
    assert len(listed) == len(set(listed))


@pytest.mark.slow
def test_a_batch_that_nobody_runs_expires_with_an_error_for_each_line(client: OpenAI, sleepy: str) -> None:
    batch = create(client, chat_line(1, model=sleepy), window="10s")
    began = time.time()
    done = wait_for(client, batch.id, "expired")
    assert time.time() - began >= 9
    (line,) = lines_of(client, done.error_file_id)
    assert line["error"]["code"] == "batch_expired"
    assert (done.expired_at or 0) >= (done.expires_at or 0)
