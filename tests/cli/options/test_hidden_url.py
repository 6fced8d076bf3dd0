"""Passwords: in no process list, no log, no output."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cli.options.hidden_url import without_password
from jobs.harmless import harmless, harmless_lines
from testing.processes.forked_commands import WORDS
from testing.processes.valkey import ValkeyProcess
from tests.cli.conftest import Cli

SECRET = "redis://someuser:sEcReT@host:6379/0"


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
    cli: Cli, environment: dict[str, str], valkey: ValkeyProcess, prompts: Path
) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    words = [*WORDS, "watch", job_id, "--redis-url", valkey.url]  # a new interpreter: a fork has no command line
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert "waiting for a worker" in said
        listed = subprocess.run(
            ["ps", "-ww", "-o", "args=", "-p", str(process.pid)], capture_output=True, text=True, check=True
        )
        process.kill()
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


PLACES: dict[str, list[str]] = {
    "PROMPTS": ["submit", SECRET],
    "JOB": ["status", SECRET],
    "JOB...": ["delete", SECRET],
    "--model": ["submit", "prompts.jsonl", "--model", SECRET],
    "--served-model-name": ["worker", "--served-model-name", SECRET],
    "--state-dir": ["run", "prompts.jsonl", "--state-dir", SECRET],
    "-o": ["run", "prompts.jsonl", "-o", SECRET],
    "--stats": ["run", "prompts.jsonl", "--stats", SECRET],
    "--idempotency-key": ["submit", "prompts.jsonl", "--idempotency-key", SECRET],
    "--deadline": ["submit", "prompts.jsonl", "--deadline", SECRET],
    "--kv-cache-memory": ["worker", "--kv-cache-memory", SECRET],
    "--limit": ["list", "--limit", SECRET],
    "--device": ["worker", "--device", SECRET],
    "a command": [SECRET],
    "one argument too many": ["list", SECRET],
    "another scheme": ["list", "--redis-url", SECRET.replace("redis", "http")],
}


@pytest.mark.parametrize("place", PLACES)
def test_a_url_in_the_wrong_place_is_refused_without_its_user_and_password(
    cli: Cli, valkey: ValkeyProcess, prompts: Path, tmp_path: Path, place: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = cli(*PLACES[place])
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr and "Traceback" not in done.stderr
    assert "sEcReT" not in done.stderr and "someuser" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before  # no folder is named for it either
    with valkey.client() as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize("name", ["MODEL", "STATE_DIR", "THREADS", "LOG_LEVEL"])
def test_a_url_in_the_wrong_variable_is_refused_without_its_password(cli: Cli, name: str) -> None:
    done = cli("list", env={f"QWEN_BATCH_{name}": SECRET})
    assert (done.returncode, f"QWEN_BATCH_{name}" in done.stderr, "sEcReT" in done.stderr) == (2, True, False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "consumer: cannot connect to redis://user:**@host:6379/0: refused",
            "consumer: cannot connect to redis://***@host:6379/0: refused",
        ),
        ("rediss://:a@b/c@host/0 and more", "rediss://***@host/0 and more"),
        ("redis://:my pass@host", "redis://***@host"),
        ("the folder redis:/user:pw@host/0/runs", "the folder redis:/***@host/0/runs"),
        ("HTTPS://user:pw@hub.example/x", "HTTPS://***@hub.example/x"),
        ("rediss://host/0?ssl_password=pw&ssl_keyfile=/k", "rediss://host/0?ssl_password=***&ssl_keyfile=/k"),
        ("https://h/f?X-Amz-Date=1&X-Amz-Signature=pw&a=b 404", "https://h/f?X-Amz-Date=1&X-Amz-Signature=***&a=b 404"),
        ("redis://host:6379/0 is full; ask me@example.org", "redis://***@example.org"),
        ("https://example.org/@someone/1", "https://example.org/@someone/1"),
        ("https://example.org/a: ask me@example.org", "https://example.org/a: ask me@example.org"),
        ("It looks like redis://[USER:PASSWORD@]HOST:PORT/0", "It looks like redis://[USER:PASSWORD@]HOST:PORT/0"),
        ("redis://USER:PASSWORD@HOST:PORT/0.", "redis://USER:PASSWORD@HOST:PORT/0."),
    ],
)
def test_users_and_passwords_of_urls_are_hidden_wherever_text_is_shown(text: str, shown: str) -> None:
    assert harmless(text) == shown
    assert harmless_lines(f"{text}\n{text}") == f"{shown}\n{shown}"
