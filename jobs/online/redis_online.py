"""Interactive requests in Redis."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from jobs.online import online_keys as keys
from jobs.online.messages import Abort, OnlineRequest, ReplyEntry
from jobs.online.online_store import MAX_ENTRIES, SERVER_SECONDS, WORKER_SECONDS, Acceptance, PlacedEntry
from jobs.stores.damage import reading
from jobs.stores.redis.connection.server import Command, RedisServer, Word

_EXPIRY_MS = 60_000  # orders to a dead worker, and replies to a dead server, are kept for this time
_FIELD = b"entry"
_encoder = msgspec.json.Encoder()
_request = msgspec.json.Decoder(OnlineRequest)
_abort = msgspec.json.Decoder(Abort)
_entry = msgspec.json.Decoder(ReplyEntry)


class RedisOnline:
    """Implements `OnlineStore`; `jobs/online/online_keys.py` documents the layout.

    A blocking call occupies one connection of the server's pool until it returns.
    """

    def __init__(self, server: RedisServer) -> None:
        self.damage = server.damage
        self._server = server

    def now(self) -> float:
        return self._server.now()

    # --- what an HTTP process does ---

    def accept(self, request: OnlineRequest, max_waiting: int) -> Acceptance:
        lists = [keys.workers(request.model), keys.waiting(request.model)]
        report = _report_of(request.server)
        args = (_encoder.encode(request), max_waiting)
        accepted: Acceptance = self._server.script_after(report, "accept_online", lists, *args)
        return accepted

    def push(self, request: OnlineRequest, front: bool = False) -> None:
        self._server.run("LPUSH" if front else "RPUSH", keys.waiting(request.model), _encoder.encode(request))

    def waiting(self, model: str) -> int:
        return int(self._server.run("LLEN", keys.waiting(model)))

    def is_waiting(self, request: OnlineRequest) -> bool:
        return self._server.run("LPOS", keys.waiting(request.model), _encoder.encode(request)) is not None

    def withdraw(self, request: OnlineRequest) -> bool:
        return bool(self._server.run("LREM", keys.waiting(request.model), 1, _encoder.encode(request)))

    def abort(self, model: str, worker: str, request_id: str) -> None:
        key = keys.aborts(model, worker)
        order = _encoder.encode(Abort(request_id))
        self._server.pipeline([("RPUSH", key, order), ("PEXPIRE", key, _EXPIRY_MS)])

    def replies(self, server: str, after: str, block_seconds: float) -> list[PlacedEntry]:
        key = keys.replies(server)
        reply = self._server.run("XREAD", "BLOCK", _block_ms(block_seconds), "STREAMS", key, after)
        found: list[PlacedEntry] = []
        for place, fields in _entries(reply):
            with self._server.damage.skipping(), reading(key):
                found.append(PlacedEntry(place.decode(), _entry.decode(fields[_FIELD])))
        return found

    def report_server(self, server: str) -> float:
        _, (seconds, microseconds) = self._server.pipeline([_report_of(server), ("TIME",)])
        return int(seconds) + int(microseconds) / 1e6

    def live_workers(self, model: str) -> list[str]:
        workers: list[bytes] = self._server.script("live_online_workers", [keys.workers(model)])
        return sorted(worker.decode() for worker in workers)

    # --- what a worker does ---

    def take(
        self, model: str, worker: str, block_seconds: float, requests: bool = True
    ) -> OnlineRequest | Abort | None:
        orders, waiting = keys.aborts(model, worker), keys.waiting(model)
        lists = (orders, waiting) if requests else (orders,)  # the first one that is not empty is served
        reply = self._server.run("BLPOP", *lists, _block_ms(block_seconds) / 1000)
        if reply is None:
            return None
        key, value = reply
        with reading(key.decode()):
            return _abort.decode(value) if key == orders.encode() else _request.decode(value)

    def reply(self, server: str, entry: ReplyEntry) -> None:
        key, encoded = keys.replies(server), _encoder.encode(entry)
        added: tuple[Word, ...] = ("XADD", key, "MAXLEN", "~", MAX_ENTRIES, "*", _FIELD, encoded)
        self._server.pipeline([added, ("PEXPIRE", key, _EXPIRY_MS)])

    def live_servers(self, servers: Collection[str]) -> set[str]:
        asked = list(servers)
        found = self._server.pipeline(("EXISTS", keys.server(server)) for server in asked)
        return {server for server, alive in zip(asked, found, strict=True) if alive}

    def report_worker(self, model: str, worker: str) -> None:
        self._server.script("report_online_worker", [keys.workers(model)], worker, round(WORKER_SECONDS * 1000))

    def forget_worker(self, model: str, worker: str) -> None:
        self._server.run("ZREM", keys.workers(model), worker)


def _report_of(server: str) -> Command:
    return ("SET", keys.server(server), 1, "PX", round(SERVER_SECONDS * 1000))


def _block_ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))  # 0 would block for ever


def _entries(reply: Any) -> list[Any]:  # noqa: ANN401 - a list in the older protocol, a dictionary in the newer one
    """Return the entries that XREAD found in one stream, each with its id and its fields."""
    if not reply:
        return []
    found = next(iter(reply.values()))[0] if isinstance(reply, dict) else reply[0][1]
    return list(found)
