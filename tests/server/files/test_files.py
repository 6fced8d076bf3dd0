"""Uploads, downloads and listings of files, as clients do them."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai import OpenAI

from server.middleware.api_error import ApiError
from server.upload.form import read_form
from tests.server.conftest import ServeProcess, chat_line, jsonl, upload

LINE = jsonl(chat_line(1))


def form(*parts: tuple[str, str | None, bytes], boundary: str = "b0") -> dict[str, Any]:
    """The request of a form, part by part: name, file name, value."""
    body = b""
    for name, filename, value in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
        body += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + value + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return {"content": body, "headers": {"content-type": f"multipart/form-data; boundary={boundary}"}}


PURPOSE = ("purpose", None, b"batch")
FILE = ("file", "in.jsonl", LINE)
REFUSED: dict[str, tuple[dict[str, Any], int, str, str | None, str | None]] = {
    "no form": ({"json": {}}, 400, "multipart/form-data", None, None),
    "no boundary": (
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        400,
        "multipart/form-data",
        None,
        None,
    ),
    "an unfinished form": (
        form(PURPOSE, FILE) | {"content": form(PURPOSE, FILE)["content"][:-30]},
        400,
        "form",
        None,
        None,
    ),
    "no file": (form(PURPOSE), 400, "Missing required parameter: 'file'.", "file", "missing_required_parameter"),
    "no purpose": (form(FILE), 400, "Missing required parameter: 'purpose'.", "purpose", "missing_required_parameter"),
    "another purpose": (form(("purpose", None, b"assistants"), FILE), 400, "'batch'", "purpose", "invalid_value"),
    "two files": (form(PURPOSE, FILE, FILE), 400, "several files", "file", None),
    "an empty file": (form(PURPOSE, ("file", "in.jsonl", b" \n")), 400, "empty", "file", "invalid_file"),
    "a compressed file": (form(PURPOSE, ("file", "a.gz", b"\x1f\x8b\n123")), 400, "gzip", "file", "invalid_file"),
    "a table": (form(PURPOSE, ("file", "a.csv", b"id,prompt\n1,x\n")), 400, "JSONL", "file", "invalid_file"),
    "an array": (form(PURPOSE, ("file", "a.json", b'[{"a": 1}]')), 400, "JSONL", "file", "invalid_file"),
    "an unknown field": (form(PURPOSE, FILE, ("color", None, b"red")), 400, "'color'", "color", "unknown_parameter"),
    "a long field": (form(PURPOSE, FILE, ("x", None, b"y" * 5000)), 413, "4,096 bytes", None, None),
    "a short life": (
        form(PURPOSE, FILE, ("expires_after[anchor]", None, b"created_at"), ("expires_after[seconds]", None, b"60")),
        400,
        "from 3,600 to 2,592,000",
        "expires_after.seconds",
        "invalid_value",
    ),
    "no anchor": (
        form(PURPOSE, FILE, ("expires_after[seconds]", None, b"3600")),
        400,
        "'created_at'",
        "expires_after.anchor",
        "invalid_value",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_bad_upload_is_refused_and_leaves_nothing(http: httpx.Client, what: str) -> None:
    request, status, text, param, code = REFUSED[what]
    before = http.get("/v1/files").json()
    answer = http.post("/v1/files", **request)
    assert answer.status_code == status
    assert answer.json()["error"] | {"message": ""} == {
        "message": "",
        "type": "invalid_request_error",
        "param": param,
        "code": code,
    }
    assert text in answer.json()["error"]["message"]
    assert http.get("/v1/files").json() == before


@pytest.mark.parametrize("parts", [(PURPOSE, FILE), (FILE, PURPOSE)], ids=["as Python", "as Node"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_parts_come_in_any_order_and_in_pieces_of_any_size(http: httpx.Client, parts: Any, size: int) -> None:
    request = form(*parts)
    body = request["content"]
    pieces = (body[first : first + size] for first in range(0, len(body), size))
    answer = http.post("/v1/files", **(request | {"content": pieces}))
    assert answer.status_code == 200, answer.text
    assert http.get(f"/v1/files/{answer.json()['id']}/content").content == LINE


def test_a_file_expires_when_its_client_says(client: OpenAI) -> None:
    said: Any = {"anchor": "created_at", "seconds": 3600}
    file = client.files.create(file=("a.jsonl", LINE), purpose="batch", expires_after=said)
    assert (file.expires_at or 0) - file.created_at == 3600
    usual = client.files.create(file=("a.jsonl", LINE), purpose="batch")
    assert (usual.expires_at or 0) - usual.created_at == 30 * 86_400


def test_a_file_that_is_too_large_is_refused_before_its_body_comes(service: ServeProcess) -> None:
    host, _, port = service.address.removeprefix("http://").partition(":")
    head = "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b0\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(f"{head}Content-Length: {2**40}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"}") and (received := connection.recv(10_000)):
            answer += received  # the head and the body may come apart
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"at most 536,870,912 bytes" in answer


def test_a_file_whose_size_nobody_says_is_read_up_to_the_limit() -> None:
    kept: list[bytes] = []

    async def keep(piece: bytes) -> None:
        kept.append(piece)

    async def in_pieces(file: bytes) -> AsyncIterator[bytes]:
        body = form(("file", "a.jsonl", file))["content"]
        for first in range(0, len(body), 7):
            yield body[first : first + 7]

    asyncio.run(read_form(in_pieces(b"x" * 100), "b0", 100, keep))
    assert b"".join(kept) == b"x" * 100
    kept.clear()
    with pytest.raises(ApiError, match="at most 100 bytes"):
        asyncio.run(read_form(in_pieces(b"x" * 101), "b0", 100, keep))
    assert len(b"".join(kept)) <= 100


@pytest.fixture(scope="module")
def numbers(client: OpenAI) -> tuple[str, bytes]:
    """A file of several pieces: its id and its bytes."""
    content = jsonl(*(chat_line(number, "x" * 500) for number in range(1000)))
    return upload(client, content), content


@pytest.mark.parametrize(
    ("said", "first", "end"),
    [("bytes=0-0", 0, 1), ("bytes=5-99", 5, 100), ("bytes=600000-", 600_000, None), ("bytes=-7", -7, None)],
)
def test_a_range_is_that_part_of_the_file(
    http: httpx.Client, numbers: tuple[str, bytes], said: str, first: int, end: int | None
) -> None:
    file_id, content = numbers
    answer = http.get(f"/v1/files/{file_id}/content", headers={"range": said})
    part = content[first:end]
    start = first % len(content)
    assert (answer.status_code, answer.content) == (206, part)
    assert answer.headers["content-range"] == f"bytes {start}-{start + len(part) - 1}/{len(content)}"


@pytest.mark.parametrize("said", ["bytes=", "bytes=9-5", "lines=1-2", "bytes=0-1,5-6"])
def test_what_is_no_single_range_gives_the_whole_file(
    http: httpx.Client, numbers: tuple[str, bytes], said: str
) -> None:
    answer = http.get(f"/v1/files/{numbers[0]}/content", headers={"range": said})
    assert (answer.status_code, answer.content) == (200, numbers[1])


@pytest.mark.parametrize("said", ["bytes=99999999-", "bytes=-0"])
def test_a_range_outside_the_file_is_refused(http: httpx.Client, numbers: tuple[str, bytes], said: str) -> None:
    answer = http.get(f"/v1/files/{numbers[0]}/content", headers={"range": said})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(numbers[1])}")
    assert answer.json()["error"]["code"] == "range_not_satisfiable"


def test_a_broken_download_is_resumed_only_if_the_file_is_still_the_same(
    http: httpx.Client, numbers: tuple[str, bytes]
) -> None:
    file_id, content = numbers
    url = f"/v1/files/{file_id}/content"
    head = http.head(url)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(content)), b"")
    etag = head.headers["etag"]
    assert etag == f'"{hashlib.sha256(content).hexdigest()}"'
    assert head.headers["accept-ranges"] == "bytes"
    assert head.headers["content-disposition"].startswith("attachment")
    rest = http.get(url, headers={"range": "bytes=1000-", "if-range": etag})
    assert (rest.status_code, rest.content) == (206, content[1000:])
    changed = http.get(url, headers={"range": "bytes=1000-", "if-range": '"other"'})
    assert (changed.status_code, changed.content) == (200, content)
    assert http.get(url, headers={"if-none-match": etag}).status_code == 304


def test_the_client_pages_through_a_listing_by_itself(client: OpenAI) -> None:
    new = [upload(client, LINE, f"{number}.jsonl") for number in range(7)]
    listed = [file.id for file in client.files.list(limit=3)]
    assert [file_id for file_id in listed if file_id in new] == new[::-1]
    assert len(listed) == len(set(listed))
    assert [file.id for file in client.files.list(limit=3, order="asc") if file.id in new] == new
    assert client.files.list(purpose="assistants").data == []


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=10001", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("after=x", "after")],
)
def test_a_bad_query_of_a_listing_is_named(http: httpx.Client, query: str, param: str) -> None:
    error = http.get(f"/v1/files?{query}").json()["error"]
    assert (error["param"], error["code"]) == (param, "invalid_value")
    assert f"Invalid value for '{param}': '{query.partition('=')[2]}'. It must be " in error["message"]
