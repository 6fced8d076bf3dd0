"""A web server, and an object store in a process of its own that checks credentials as S3 does."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cli.conftest import bare_cli, cli, environment, server, start, store, valkey
from tests.remote.reading import LINES
from tests.remote.web_server import WebServer

__all__ = ["bare_cli", "cli", "environment", "server", "start", "store", "valkey"]  # fixtures

_UNCHECKED_CALLS = 3  # those that make the user


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy of this machine's environment does not count."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A server with one file."""
    with WebServer({"/a.jsonl": LINES}) as server:
        yield server


@dataclass(frozen=True)
class S3:
    """A server with one user, and a bucket of the test's own."""

    environment: dict[str, str]  # what a driver reads
    client: Any  # of boto3
    bucket: str

    def put(self, **objects: bytes) -> None:
        """Make objects: `NAME_ENDING=content` is the object NAME.ENDING."""
        for name, content in objects.items():
            self.client.put_object(Bucket=self.bucket, Key=name.replace("_", "."), Body=content)

    def get(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content

    def keys(self) -> list[str]:
        return [found["Key"] for found in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def unfinished_uploads(self) -> int:
        return len(self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    for package in ("boto3", "moto", "s3fs"):
        pytest.importorskip(package, reason="the extra `s3` and moto are not installed")
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        env=os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": str(_UNCHECKED_CALLS)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        found = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+", line) for line in process.stderr)))
        yield _server_at(found[0])
    finally:
        process.kill()
        process.communicate()


def _server_at(url: str) -> S3:
    import boto3

    def client(service: str, key: str, secret: str) -> Any:
        return boto3.client(
            service, endpoint_url=url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret
        )

    iam = client("iam", "nobody", "nothing")
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    iam.create_user(UserName="user")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="user", PolicyName="all", PolicyDocument=policy)
    made = iam.create_access_key(UserName="user")["AccessKey"]
    key, secret = made["AccessKeyId"], made["SecretAccessKey"]
    environment = {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "NO_PROXY": "127.0.0.1",
    }
    return S3(environment, client("s3", key, secret), "")


_bucket_numbers = itertools.count()


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """The server with a new bucket, as the environment of this process names it."""
    import s3fs

    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{next(_bucket_numbers)}"
    s3_server.client.create_bucket(Bucket=bucket)
    s3fs.S3FileSystem.clear_instance_cache()
    yield S3(s3_server.environment, s3_server.client, bucket)
    s3fs.S3FileSystem.clear_instance_cache()  # it has read the environment
