"""What workers say of themselves and their models, and which `run` made which job."""

from __future__ import annotations

import msgspec

from jobs import keys
from jobs.errors import JobNotFound
from jobs.keys import JobKeys
from jobs.model_card import ModelCard
from jobs.stores.redis_server import RedisServer
from jobs.wire_format import WIRE_FORMAT
from jobs.worker_report import WorkerReport

_report = msgspec.json.Decoder(WorkerReport)
_card = msgspec.json.Decoder(ModelCard)


class Fleet:
    """Reports are keys that expire by themselves; the list of workers names some that are gone until it is read."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def report_worker(self, report: WorkerReport, ttl_seconds: float) -> None:
        key, value = keys.worker(report.worker_id), msgspec.json.encode(report)
        self._server.pipeline(
            [
                ("ZADD", keys.WORKERS, report.started_at, report.worker_id),
                ("SET", key, value, "PX", round(ttl_seconds * 1000)),
            ]
        )

    def forget_worker(self, worker_id: str) -> None:
        self._server.pipeline([("DEL", keys.worker(worker_id)), ("ZREM", keys.WORKERS, worker_id)])

    def workers(self) -> list[WorkerReport]:
        ids = [worker_id.decode() for worker_id in self._server.run("ZRANGE", keys.WORKERS, 0, -1)]
        values = self._server.pipeline(("GET", keys.worker(worker_id)) for worker_id in ids)
        gone = [worker_id for worker_id, value in zip(ids, values, strict=True) if value is None]
        if gone:
            self._server.run("ZREM", keys.WORKERS, *gone)
        reports = [_report.decode(value) for value in values if value is not None]
        return sorted(reports, key=lambda report: (report.model, report.host, report.pid))

    def publish_model(self, card: ModelCard) -> None:
        self._server.run("SET", keys.FORMAT, WIRE_FORMAT, "NX")
        self._server.run("HSET", keys.MODELS, card.name, msgspec.json.encode(card))

    def model(self, name: str) -> ModelCard | None:
        value = self._server.run("HGET", keys.MODELS, name)
        return _card.decode(value) if value is not None else None


class RunMemory:
    """Which job `qwen-batch run` made of a file."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def find(self, fingerprint: str) -> str | None:
        value = self._server.run("HGET", keys.RUNS, fingerprint)
        if value is None:
            return None
        job_id = str(value.decode())
        if self._server.run("HGET", JobKeys(job_id).meta, "state") in (None, b"deleting"):
            self._server.run("HDEL", keys.RUNS, fingerprint)
            return None
        return job_id

    def remember(self, fingerprint: str, job_id: str) -> None:
        if not self._server.script("note_run", [JobKeys(job_id).meta], fingerprint):
            raise JobNotFound(job_id)
        self._server.run("HSET", keys.RUNS, fingerprint, job_id)
