"""Reports of HTTP processes. Each process publishes one per second, so that any process can show the figures of all."""

from __future__ import annotations

from typing import Protocol

import msgspec

from jobs.keys import PREFIX
from jobs.stores.damage import reading
from jobs.stores.redis.connection.server import RedisServer

LIFE_SECONDS = 5.0  # a process that has not reported for this time is gone
_SERVERS = PREFIX + "servers"  # sorted set: id of an HTTP process, scored by its start in seconds


RouteSeconds = tuple[str, tuple[int, ...], float]  # path of the route, counts per bucket, sum of the times


class HttpReport(msgspec.Struct, frozen=True):
    """Counts and times of one HTTP process since its start."""

    server: str  # host:pid
    started_at: float  # seconds since the epoch
    requests: tuple[tuple[str, str, int, int], ...]  # path of the route, method, status, number of requests
    seconds: tuple[RouteSeconds, ...]  # whole times of requests
    upload_bytes: int
    loop_delay_seconds: float  # longest delay of the event loop in the last second
    first_seconds: tuple[RouteSeconds, ...] = ()  # times to the first byte of the answers to interactive requests
    store_seconds: tuple[tuple[int, ...], float] | None = None  # calls of the store: counts per bucket, sum


class HttpReports(Protocol):
    """The latest report of each HTTP process. Thread-safe."""

    def publish(self, report: HttpReport) -> None:
        """Replace the report of a process. Raises `StoreUnavailable` and `StoreFull`."""

    def all(self) -> list[HttpReport]:
        """Return the reports of all live processes, oldest process first. Raises `StoreUnavailable`."""


class RedisHttpReports:
    """Implements `HttpReports`. Reports are keys that expire; the next reader removes their ids from the list."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._decoder = msgspec.json.Decoder(HttpReport)

    def publish(self, report: HttpReport) -> None:
        """Replace the report of a process."""
        life_ms = round(LIFE_SECONDS * 1000)
        self._server.pipeline(
            [
                ("ZADD", _SERVERS, report.started_at, report.server),
                ("SET", _key(report.server), msgspec.json.encode(report), "PX", life_ms),
            ]
        )

    def all(self) -> list[HttpReport]:
        """Return the reports of all live processes."""
        servers = [member.decode() for member in self._server.run("ZRANGE", _SERVERS, 0, -1)]
        if not servers:
            return []
        found: list[HttpReport] = []
        for server, value in zip(servers, self._server.run("MGET", *map(_key, servers)), strict=True):
            if value is None:
                self._server.run("ZREM", _SERVERS, server)
                continue
            with self._server.damage.skipping(), reading(_key(server)):
                found.append(self._decoder.decode(value))
        return found


def _key(server: str) -> str:
    return f"{PREFIX}server:{server}"
