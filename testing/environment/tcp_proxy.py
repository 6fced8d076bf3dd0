"""A network that a test holds in its hands: a TCP relay that can be cut, mended and pointed elsewhere."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK_BYTES = 2**16


class TcpProxy:
    """Relays connections to 127.0.0.1 at `target_port`, from a port of its own, while the `with` block lasts.

    `cut` is a cable that is pulled: bytes stay where they are and nobody is told. `drop` is a firewall's reset.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self.delay_seconds = 0.0  # time for which each piece of bytes is held back, in both directions
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._threads: list[threading.Thread] = []
        self._ended = False
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._open.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()
        for thread in list(self._threads):
            thread.join(5)
            assert not thread.is_alive()

    def cut(self) -> None:
        """From now on nothing passes, in either direction."""
        self._open.clear()

    def mend(self) -> None:
        """Everything passes again, what has waited included."""
        self._open.set()

    def drop(self) -> None:
        """End every connection that there is."""
        with self._lock:
            for one in self._sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def point_to(self, target_port: int) -> None:
        """New connections go to another server; the old ones end."""
        self._target_port = target_port
        self.drop()

    def _spawn(self, run: object, *args: socket.socket) -> None:
        assert callable(run)
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._connect, near)

    def _connect(self, near: socket.socket) -> None:
        self._open.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self._target_port), timeout=60)
        except OSError:
            near.close()  # as refused as a relay can make it
            return
        far.settimeout(None)
        with self._lock:
            self._sockets |= {near, far}
        if self._ended:
            self.drop()
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=self._relay, args=(far, near), daemon=True)
        back.start()
        self._relay(near, far)
        back.join()
        with self._lock:
            self._sockets -= {near, far}
        near.close()
        far.close()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(CHUNK_BYTES):
                self._open.wait()
                if self.delay_seconds:
                    time.sleep(self.delay_seconds)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for one in (source, sink):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
