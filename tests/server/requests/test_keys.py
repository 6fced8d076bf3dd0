"""API keys and projects: who may do what, and who sees what."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from openai import AuthenticationError, NotFoundError, OpenAI, PermissionDeniedError

from cli.main import group
from server.access.key_file import add_key, read_key_file, remove_key
from testing.processes.valkey import ValkeyProcess
from tests.server.conftest import ServeProcess, chat_line, create, jsonl, upload


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def guarded(
    valkey: ValkeyProcess, service: ServeProcess, keys_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeProcess]:
    """A second service on the same store, with keys."""
    add_key(keys_file, "first", ("batch",), None)
    folder = tmp_path_factory.mktemp("guarded")
    words = ("--keys-file", str(keys_file))
    with ServeProcess(valkey, folder, *words, files=service.files, api_key="sk-single") as guarded:
        yield guarded


def new_client(
    guarded: ServeProcess, keys_file: Path, project: str, rights: str = "batch", life: float = 600
) -> OpenAI:
    return guarded.client(add_key(keys_file, project, (rights,), life)[0])


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, None),
        ({"authorization": "Basic abc"}, 401, None),
        ({"authorization": "Bearer"}, 401, None),
        ({"authorization": "Bearer sk-qb-unknown"}, 401, "invalid_api_key"),
        ({"authorization": "Bearer sk-single", "openai-project": "other"}, 401, "mismatched_project"),
        ({"authorization": "Bearer sk-single", "openai-project": "default"}, 200, None),
        ({"authorization": "bearer sk-single"}, 200, None),
    ],
)
def test_only_a_known_key_passes(guarded: ServeProcess, headers: dict[str, str], status: int, code: str | None) -> None:
    answer = httpx.get(f"{guarded.address}/v1/files", headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["error"]["code"] == code
        assert "sk-qb-unknown" not in answer.text
    assert httpx.get(f"{guarded.address}/ready").status_code == 200


def test_a_key_works_from_its_making_to_its_removal_while_the_service_runs(
    guarded: ServeProcess, keys_file: Path
) -> None:
    key, entry = add_key(keys_file, "first", ("batch",), None)
    client = guarded.client(key)
    assert client.models.list().object == "list"
    remove_key(keys_file, entry.id)
    with pytest.raises(AuthenticationError, match="Incorrect API key"):
        client.models.list()
    assert entry.id not in [key.id for key in read_key_file(keys_file).keys]


def test_an_expired_key_is_refused(guarded: ServeProcess, keys_file: Path) -> None:
    client = new_client(guarded, keys_file, "first", life=0.01)
    time.sleep(0.02)  # time itself is what ends the key
    with pytest.raises(AuthenticationError, match="has expired"):
        client.files.list()


def test_a_key_without_the_right_is_refused(guarded: ServeProcess, keys_file: Path) -> None:
    client = new_client(guarded, keys_file, "first", "online")
    client.models.list()
    with pytest.raises(PermissionDeniedError, match="lacks the right `batch`") as raised:
        client.files.list()
    assert raised.value.code == "insufficient_permissions"


@pytest.mark.parametrize("path", ["chat/completions", "completions", "responses"])
def test_an_interactive_request_needs_the_right_to_it(guarded: ServeProcess, keys_file: Path, path: str) -> None:
    answers = []
    for right in ("batch", "online"):
        key, _ = add_key(keys_file, "first", (right,), 600)
        headers = {"authorization": f"Bearer {key}"}
        answer = httpx.post(f"{guarded.address}/v1/{path}", headers=headers, json={"model": "unknown"}, timeout=60)
        answers.append((answer.status_code, answer.json()["error"]["code"]))
    assert answers == [(403, "insufficient_permissions"), (404, "model_not_found")]


def test_objects_of_another_project_are_as_absent_as_unknown_ones(
    guarded: ServeProcess, keys_file: Path, sleepy: str
) -> None:
    one, other = (new_client(guarded, keys_file, project) for project in ("one", "other"))
    batch = create(one, chat_line(1, model=sleepy))
    requests: list[tuple[str, Any]] = [
        (batch.input_file_id, lambda client, known: client.files.retrieve(known)),
        (batch.input_file_id, lambda client, known: client.files.content(known)),
        (batch.input_file_id, lambda client, known: client.files.delete(known)),
        (batch.id, lambda client, known: client.batches.retrieve(known)),
        (batch.id, lambda client, known: client.batches.cancel(known)),
        (
            batch.input_file_id,
            lambda client, known: client.batches.create(
                input_file_id=known, endpoint="/v1/chat/completions", completion_window="24h"
            ),
        ),
    ]
    for known, request in requests:
        answers = []
        for asked in (known, known[:-8] + "00000000"):
            with pytest.raises(NotFoundError) as raised:
                request(other, asked)
            answers.append(raised.value.response.text.replace(asked, "ID"))
        assert answers[0] == answers[1]
    assert (other.files.list().data, other.batches.list().data) == ([], [])
    assert [file.id for file in one.files.list()] == [batch.input_file_id]
    assert upload(other, jsonl(chat_line(1))) not in [file.id for file in one.files.list()]


def test_the_command_adds_lists_and_removes_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"

    def keys(*words: str) -> Result:
        return CliRunner().invoke(group, ["keys", *words, "--keys-file", str(path)])

    added = keys("add", "--project", "research", "--expires", "90d")
    assert added.stdout.startswith("sk-qb-")
    assert path.stat().st_mode & 0o077 == 0
    assert added.stdout.strip() not in path.read_text()
    listed = keys("list").stdout
    (entry,) = read_key_file(path).keys
    assert listed.startswith(f"{entry.id}  research  batch,online  until 20")
    assert "Removed" in keys("remove", entry.id).stderr
    for words, what in (
        (("remove", entry.id), "has no key"),
        (("add", "--project", "Not Valid"), "no name of a project"),
    ):
        assert what in str(keys(*words).exception)
    assert keys("remove").exit_code == 2
    assert keys("add", "--rights", "all").exit_code == 2
