"""Passwords: in no process list, no log, no output."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cli.hidden_url import without_password
from tests.cli.conftest import Cli, Start
from tests.support.valkey import ValkeyProcess

SECRET = "redis://user:sEcReT@host:6379/0"


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["python", "-m", "cli.main", "watch", "--redis-url", SECRET, "job"], ["watch", "job"]),
        (["python", "-m", "cli.main", "watch", f"--redis-url={SECRET}", "job"], ["watch", "job"]),
        (["python", "-m", "cli.main", "watch", "--redis-url", "redis://a", "--redis-url", SECRET], ["watch"]),
        (["python", "-m", "cli.main", "list", "--redis-url", "redis://host/0?password=sEcReT"], ["list"]),
    ],
)
def test_a_url_with_a_password_goes_into_the_environment(words: list[str], kept: list[str]) -> None:
    hidden = without_password(words, {"HOME": "/home"})
    assert hidden is not None
    command, environment = hidden
    assert command == ["python", "-m", "cli.main", *kept]
    assert set(environment) == {"HOME", "QWEN_BATCH_REDIS_URL"}
    assert "sEcReT" in environment["QWEN_BATCH_REDIS_URL"]


@pytest.mark.parametrize(
    "words",
    [
        ["watch", "job"],
        ["watch", "--redis-url"],
        ["watch", "--redis-url", "redis://host:6379/0"],
        ["watch", "--redis-url", "redis://[::1"],
        ["generate", "--", "--redis-url", SECRET],
    ],
)
def test_a_command_line_without_a_password_is_left_alone(words: list[str]) -> None:
    assert without_password(words, {}) is None


def test_a_running_commands_password_is_not_in_the_process_list(
    cli: Cli, start: Start, valkey: ValkeyProcess, prompts: Path
) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    process = start("watch", job_id, "--redis-url", valkey.url)
    assert process.stderr is not None
    said = process.stderr.readline()
    assert "waiting for a worker" in said
    listed = subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(process.pid)], capture_output=True, text=True, check=True
    )
    assert f"watch {job_id}" in listed.stdout
    assert valkey.password not in listed.stdout + said


def test_no_command_shows_the_password_of_its_server(cli: Cli, valkey: ValkeyProcess, prompts: Path) -> None:
    job_id = cli("submit", prompts, "-v").stdout.strip()
    for words in (
        ["status", job_id],
        ["status", job_id, "--json"],
        ["list", "--json"],
        ["workers"],
        ["cancel", job_id],
    ):
        done = cli(*words, "-v")
        assert done.returncode == 0, done.stderr
        assert valkey.password not in done.stdout + done.stderr
