"""The reports of workers: their states, their models, and samples of their jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec

from jobs import keys
from jobs.errors import StoreFull
from jobs.keys import WIRE_FORMAT, JobKeys
from jobs.records.model_card import ModelCard
from jobs.records.shard_stats import TimelineSample
from jobs.records.worker_report import LOST_SECONDS, WorkerReport, as_lost, in_order
from jobs.stores.damage import reading, sound
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.rules import TIMELINE_SECONDS

_report = msgspec.json.Decoder(WorkerReport)
_card = msgspec.json.Decoder(ModelCard)


class RedisFleet:
    """Implements `Fleet`.

    Reports are keys that expire. The list of workers may name expired ones; the next reader removes them.
    """

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
            self._server.run("PEXPIRE", key, life_ms)  # needs no memory, and keeps the previous report alive
            raise

    def forget_worker(self, worker_id: str) -> None:
        self._server.pipeline([("DEL", keys.worker(worker_id)), ("ZREM", keys.WORKERS, worker_id)])

    def workers(self) -> list[WorkerReport]:
        return in_order(report for report, is_lost in self._reports() if not is_lost)

    def lost_workers(self) -> list[WorkerReport]:
        return in_order(as_lost(report) for report, is_lost in self._reports() if is_lost)

    def _reports(self) -> Iterator[tuple[WorkerReport, bool]]:
        """Iterate over each worker's latest report, with True if the worker is lost."""
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

    def models(self) -> list[ModelCard]:
        cards: list[ModelCard] = []
        for field, value in self._server.run("HGETALL", keys.MODELS).items():
            with self._server.damage.skipping(), reading(f"{keys.MODELS}, field {field!r}"):
                cards.append(_card.decode(value))
        return sorted(cards, key=lambda card: card.name)

    def add_timeline(self, job_id: str, sample: TimelineSample) -> None:
        job = JobKeys(job_id)
        self._server.script(
            "add_timeline", [job.meta, job.timeline], msgspec.json.encode(sample), TIMELINE_SECONDS * 1000
        )
