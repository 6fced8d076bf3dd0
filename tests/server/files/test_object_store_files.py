"""The service with its files in an object store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from testing.processes.valkey import running_valkey
from testing.processes.worker_under_test import WorkerUnderTest
from tests.remote.conftest import S3, s3, s3_server
from tests.server.conftest import ServeProcess, chat_line, create, lines_of, wait_for
from tests.server.files.test_files import FILE, PURPOSE, form

__all__ = ["s3", "s3_server"]  # fixtures


@pytest.mark.slow
def test_a_batch_runs_with_all_its_files_in_a_bucket(tmp_path: Path, s3: S3) -> None:
    with running_valkey(tmp_path) as valkey:
        url = f"s3://{s3.bucket}/files"
        settings = {"redis_url": valkey.url, "model": "demo", "device": "cpu", "threads": "1", "compile": "false"}
        with (
            ServeProcess(valkey, tmp_path, "--files", url) as service,
            WorkerUnderTest(settings, tmp_path / "worker.log"),
            service.client() as client,
        ):
            batch = create(client, *(chat_line(number) for number in range(3)))
            ended = wait_for(client, batch.id, "completed")
            lines = lines_of(client, ended.output_file_id)
            assert [line["custom_id"] for line in lines] == ["r0", "r1", "r2"]
            content = s3.get(f"files/default/{ended.output_file_id}")
            part = httpx.get(
                f"{service.address}/v1/files/{ended.output_file_id}/content", headers={"range": "bytes=10-29"}
            )
            assert (part.status_code, part.content) == (206, content[10:30])
            client.files.delete(ended.output_file_id or "")
            keys = s3.keys()
            assert f"files/default/{ended.output_file_id}" not in keys


@pytest.mark.slow
def test_a_bucket_that_goes_away_makes_the_service_unavailable_and_not_wrong(tmp_path: Path, s3: S3) -> None:
    with (
        running_valkey(tmp_path) as valkey,
        ServeProcess(valkey, tmp_path, "--files", f"s3://{s3.bucket}/x") as service,
    ):
        file = httpx.post(f"{service.address}/v1/files", **form(PURPOSE, FILE)).json()
        for key in list(s3.keys()):
            s3.client.delete_object(Bucket=s3.bucket, Key=key)
        s3.client.delete_bucket(Bucket=s3.bucket)
        answer = httpx.post(f"{service.address}/v1/files", **form(PURPOSE, FILE), timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_full")
        answer = httpx.get(f"{service.address}/v1/files/{file['id']}/content", timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bucket", "secret", "said"),
    [
        (None, "wRoNg", "the server refuses: Forbidden. Set AWS_ACCESS_KEY_ID"),
        ("nobody-has-it", None, "its bucket does not exist"),
    ],
)
def test_a_wrong_key_or_bucket_ends_the_start_with_one_message(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: str | None, secret: str | None, said: str
) -> None:
    if secret is not None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    command = [sys.executable, "-m", "cli.main", "serve", "--port", "0", "--files", f"s3://{bucket or s3.bucket}/files"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    message, hint = ended.stderr.splitlines()
    assert said in f"{message} {hint}"
