"""What workers say of themselves and their models, and which `run` made which job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec

from jobs import keys
from jobs.errors import JobNotFound, StoreFull
from jobs.keys import JobKeys
from jobs.records.model_card import ModelCard
from jobs.records.worker_report import LOST_SECONDS, WorkerReport, as_lost, in_order
from jobs.stores.damage import reading, sound
from jobs.stores.redis.server import RedisServer
from jobs.wire_format import WIRE_FORMAT

_report = msgspec.json.Decoder(WorkerReport)
_card = msgspec.json.Decoder(ModelCard)


class Fleet:
    """Reports are keys that expire by themselves; the list of workers names some that are gone until it is read."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def report_worker(self, report: WorkerReport, ttl_seconds: float) -> None:
        key, value = keys.worker(report.worker_id), msgspec.json.encode(report)
        life_ms = round((ttl_seconds + LOST_SECONDS) * 1000)
        try:
            self._server.pipeline(
                [("ZADD", keys.WORKERS, report.started_at, report.worker_id), ("SET", key, value, "PX", life_ms)]
            )
        except StoreFull:
            self._server.run("PEXPIRE", key, life_ms)  # takes no memory: the worker is alive, as it said before
            raise

    def forget_worker(self, worker_id: str) -> None:
        self._server.pipeline([("DEL", keys.worker(worker_id)), ("ZREM", keys.WORKERS, worker_id)])

    def workers(self) -> list[WorkerReport]:
        return in_order(report for report, is_lost in self._reports() if not is_lost)

    def lost_workers(self) -> list[WorkerReport]:
        return in_order(as_lost(report) for report, is_lost in self._reports() if is_lost)

    def _reports(self) -> Iterator[tuple[WorkerReport, bool]]:
        """What is remembered of each worker, and whether it has fallen silent."""
        ids: list[str] = []
        for entry in self._server.run("ZRANGE", keys.WORKERS, 0, -1):
            with self._server.damage.skipping(), reading(f"{keys.WORKERS}, entry {entry!r}"):
                ids.append(entry.decode())
        names = [keys.worker(worker_id) for worker_id in ids]
        replies = self._server.replies((word, name) for name in names for word in ("GET", "PTTL"))
        gone = [worker_id for worker_id, value in zip(ids, replies[::2], strict=True) if value is None]
        if gone:
            with suppress(StoreFull):  # a server that refuses writes can still be read
                self._server.run("ZREM", keys.WORKERS, *gone)
        for name, value, left_ms in zip(names, replies[::2], replies[1::2], strict=True):
            if value is not None:
                with self._server.damage.skipping(), reading(name):
                    report = _report.decode(sound(value))
                    yield report, left_ms <= LOST_SECONDS * 1000

    def publish_model(self, card: ModelCard) -> None:
        self._server.run("SET", keys.FORMAT, WIRE_FORMAT, "NX")
        self._server.run("HSET", keys.MODELS, card.name, msgspec.json.encode(card))

    def model(self, name: str) -> ModelCard | None:
        value = self._server.run("HGET", keys.MODELS, name)
        if value is not None:
            with self._server.damage.skipping(), reading(f"{keys.MODELS}, field {name}"):
                return _card.decode(value)
        return None


class RunMemory:
    """Which job `qwen-batch run` made of a file."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def find(self, fingerprint: str) -> str | None:
        value = self._server.run("HGET", keys.RUNS, fingerprint)
        if value is None:
            return None
        job_id = str(value.decode(errors="replace"))
        if self._server.run("HGET", JobKeys(job_id).meta, "state") in (None, b"deleting"):
            self._server.run("HDEL", keys.RUNS, fingerprint)
            return None
        return job_id

    def remember(self, fingerprint: str, job_id: str) -> None:
        if not self._server.script("note_run", [JobKeys(job_id).meta], fingerprint):
            raise JobNotFound(job_id)
        self._server.run("HSET", keys.RUNS, fingerprint, job_id)
