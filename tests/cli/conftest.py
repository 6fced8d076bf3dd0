"""The real command line in processes of its own, against a real server, with workers played by the tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.settings import PREFIX
from jobs.stores.protocol import JobStore
from testing.processes.forked_commands import TIMEOUT, WORDS, StartedCommand, can_be_forked, run_command
from testing.processes.valkey import ValkeyProcess, running_valkey

Cli = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., StartedCommand]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    """One server for all tests of the command line."""
    with running_valkey(tmp_path_factory.mktemp("cli-server")) as process:
        yield process


@pytest.fixture
def valkey(server: ValkeyProcess) -> ValkeyProcess:
    """The server, empty."""
    with server.client() as client:
        client.flushall()
    return server


@pytest.fixture
def store(valkey: ValkeyProcess) -> Iterator[JobStore]:
    with valkey.store() as store:
        yield store


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """This process's environment without our settings, on a plain terminal of 80 columns, with a home of its own.

    The cache stays the user's: each command would build the kernels anew, which takes 25 s of processor time.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    home = tmp_path / "home"
    home.mkdir()
    own = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state")}
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return inherited | own | {"COLUMNS": "80", "TERM": "dumb", "XDG_CACHE_HOME": cache}


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts a command and gives the running process; what is left of it at the end is killed."""
    processes: list[StartedCommand] = []

    def start_command(*words: str | Path, env: dict[str, str] | None = None) -> StartedCommand:
        processes.append(StartedCommand([*map(str, words)], environment | (env or {}), tmp_path))
        return processes[-1]

    yield start_command
    for process in processes:
        process.close()


@pytest.fixture
def bare_cli(environment: dict[str, str], tmp_path: Path) -> Cli:
    """Runs a command to its end in a process of its own, without a server named."""

    def run(
        *words: str | Path, stdin: str | bytes | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        content = stdin.encode() if isinstance(stdin, str) else stdin or b""
        variables = environment | (env or {})
        if can_be_forked(variables):
            done = run_command([*map(str, words)], variables, tmp_path, content)
        else:
            done = subprocess.run(
                [*WORDS, *map(str, words)],
                cwd=tmp_path,
                env=variables,
                input=content,
                capture_output=True,
                timeout=TIMEOUT,
                check=False,
            )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace")
        )

    return run


@pytest.fixture
def cli(bare_cli: Cli, valkey: ValkeyProcess) -> Cli:
    """Runs a command to its end, against the test's server."""

    def run(
        *words: str | Path, stdin: str | bytes | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return bare_cli(*words, stdin=stdin, env={"QWEN_BATCH_REDIS_URL": valkey.url} | (env or {}))

    return run


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Twenty good lines: two shards."""
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(f'{{"id": "q-{number}", "prompt": "What is {number} + 1?"}}\n' for number in range(20)))
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers nonsense, quickly. It has no chat template."""
    from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
    from testing.models.tiny_checkpoint import (
        write_tiny_checkpoint,
    )  # brings torch, which most of these tests do not need

    folder = write_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny", vocab_size=257, eos_token_id=256)
    return write_byte_level_tokenizer(folder)
