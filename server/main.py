"""The parent of all processes of the service: it holds the listening socket, and starts its children again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException

import msgspec

from jobs import tether
from jobs.errors import InvalidInput, QwenBatchError
from jobs.settings import PREFIX, Settings
from server.options import ServeOptions
from server.stores import open_stores

_POLL_SECONDS = 0.1
_RESTART_SECONDS = 1.0  # between two starts of a child that dies at once
_KILL_SECONDS = 5.0  # after the drain time, for a child that does not end
_ANSWER_SECONDS = 0.5
_BACKLOG = 2048


class ServiceFailed(QwenBatchError):
    """A process of the service ends as soon as it starts."""


@dataclass
class _Child:
    """One child process and how to start it again."""

    program: list[str]
    sockets: Sequence[int]
    started_at: float = 0.0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)


class Service:
    """HTTP processes and the clerk. They end with the service, or when this process dies.

    Args:
        settings: Name the Redis server. Children get them in their environment, because command lines are public.
        options: Options of the service.
    """

    def __init__(self, settings: Settings, options: ServeOptions) -> None:
        self._options = options
        self._environment = _environment(settings)
        self._settings = settings
        self._children: list[_Child] = []
        self._stop_requested = False

    def run(self, on_ready: Callable[[str], None], check: Callable[[], None] | None = None) -> None:
        """Serve until SIGTERM, SIGHUP or Ctrl-C. A signal that is ignored stays so.

        Args:
            on_ready: Called with the address, once the service accepts connections.
            check: Called several times per second. An error that it raises ends the service.

        Raises:
            InvalidInput: The address cannot be used, or the options do not fit the store.
            StoreUnavailable: Redis cannot be reached.
            ServiceFailed: A process of the service ends as soon as it starts.
        """
        open_stores(self._settings, self._options.files)  # tell the user what is wrong, before anything starts
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP
                signal.signal(number, self._ask_to_stop)
        with _listening(self._options) as listening:
            self._children = self._all_children(listening.fileno())
            try:
                for child in self._children:
                    self._start(child)
                self._wait_until_it_answers(listening)
                on_ready(_address(listening))
                while not self._stop_requested:
                    self._restart_dead()
                    if check is not None:
                        check()
                    time.sleep(_POLL_SECONDS)
            finally:
                self._stop()

    def _wait_until_it_answers(self, listening: socket.socket) -> None:
        """Return when an HTTP process answers. Raises `ServiceFailed` if a child ends before."""
        host, port = listening.getsockname()[:2]
        own_address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        while not self._stop_requested and not _is_alive(own_address, port):
            for child in self._children:
                status = None if child.process is None else child.process.poll()
                if status is not None:
                    raise ServiceFailed(
                        f"The service cannot start: a process of it ended with status {status}.",
                        "Its last lines above say why.",
                    )
            time.sleep(_POLL_SECONDS)

    def _all_children(self, descriptor: int) -> list[_Child]:
        options = msgspec.json.encode(self._options).decode()
        http = [sys.executable, "-P", "-m", "server.http_process", str(descriptor), options]
        clerk = [sys.executable, "-P", "-m", "server.clerk.main", options]
        return [_Child(clerk, ()), *(_Child(http, (descriptor,)) for _ in range(self._options.processes))]

    def _start(self, child: _Child) -> None:
        child.started_at = time.monotonic()
        child.process = subprocess.Popen(
            tether.command(child.program, signal.SIGKILL),
            env=self._environment,
            pass_fds=child.sockets,
            stdin=subprocess.DEVNULL,
            process_group=0,  # keeps Ctrl-C at the terminal from the child; this process handles it
        )

    def _restart_dead(self) -> None:
        for child in self._children:
            is_dead = child.process is not None and child.process.poll() is not None
            if is_dead and time.monotonic() - child.started_at > _RESTART_SECONDS:
                self._start(child)

    def _stop(self) -> None:
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._options.drain_seconds + _KILL_SECONDS
        for process in running:
            try:
                process.wait(max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _ask_to_stop(self, _number: int, _frame: object) -> None:
        self._stop_requested = True


def _listening(options: ServeOptions) -> socket.socket:
    """Return the listening socket. Raises `InvalidInput`."""
    is_v6 = ":" in options.host
    listening = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((options.host, options.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise InvalidInput(
            f"Port {options.port} of {options.host} cannot be used: {error.strerror}.",
            "Name another address with --host and --port.",
        ) from error
    return listening


def _is_alive(host: str, port: int) -> bool:
    connection = HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _environment(settings: Settings) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return inherited | settings.as_env()
