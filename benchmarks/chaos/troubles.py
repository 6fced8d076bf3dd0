"""The failures that the chaos test causes, one after the other."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import redis

from benchmarks.chaos.fleet import ChaosFleet
from jobs.queue.hints import queue_name
from testing.environment.tcp_proxy import TcpProxy
from testing.processes.valkey import ValkeyProcess


class Troubles:
    """Causes failures: each call of `next` causes one and returns its name.

    Args:
        server: The server, which is killed and started again.
        network: The network between the workers and the server.
        fleet: The workers.
        model: The served model, whose queue loses and doubles messages.
        luck: Chooses the failures.
    """

    def __init__(
        self, server: ValkeyProcess, network: TcpProxy, fleet: ChaosFleet, model: str, luck: random.Random
    ) -> None:
        self._server = server
        self._network = network
        self._queue = queue_name(model)
        self._luck = luck
        self._mender: threading.Timer | None = None
        self.happened: Counter[str] = Counter()
        self._kinds: list[tuple[Callable[[], str], int]] = [  # and how often, in proportion
            (fleet.start, 6),
            (fleet.kill, 3),
            (fleet.stop, 1),
            (fleet.freeze, 3),
            (self._lose_messages, 2),
            (self._double_messages, 2),
            (self._kill_server, 1),
            (self._cut, 2),
            (self._drop_connections, 1),
        ]

    def next(self) -> str:
        """Cause one failure."""
        kinds, weights = zip(*self._kinds, strict=True)
        name: str = self._luck.choices(kinds, weights)[0]()
        self.happened[name] += 1
        return name

    def mend(self) -> None:
        """Repair the network."""
        if self._mender is not None:
            self._mender.cancel()
        self._network.mend()

    def _lose_messages(self) -> str:
        with self._server.client() as client:
            client.delete(self._queue)
        return "messages lost"

    def _double_messages(self) -> str:
        with self._server.client() as client:
            waiting = client.lrange(self._queue, 0, -1)
            assert isinstance(waiting, list)
            if waiting:
                client.lpush(self._queue, *waiting, *waiting)
        return "messages doubled"

    def _kill_server(self) -> str:
        self._server.kill()
        time.sleep(self._luck.uniform(0.1, 4.0))
        self._server.start()
        return "server killed"

    def _cut(self) -> str:
        self.mend()
        self._network.cut()
        self._mender = threading.Timer(self._luck.uniform(0.5, 6.0), self._network.mend)
        self._mender.daemon = True
        self._mender.start()
        return "network cut"

    def _drop_connections(self) -> str:
        self._network.drop()
        with self._server.client() as client:
            assert isinstance(client, redis.Redis)
            client.client_kill_filter(_type="normal", skipme=True)
        return "connections dropped"
