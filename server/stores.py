"""The stores that the processes of the service use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jobs.batches.agenda import Agenda, RedisAgenda, WaitingBatches
from jobs.batches.batch_records import BatchRecords
from jobs.batches.redis_records import RedisBatchRecords
from jobs.errors import InvalidInput
from jobs.files.remote.urls import is_url
from jobs.online.online_store import OnlineServerSide
from jobs.online.redis_online import RedisOnline
from jobs.project_keys import DUE, FILE_STORE, FINISHES, IMPORTS
from jobs.service.http_report import HttpReports, RedisHttpReports
from jobs.service.rate_limits import RateLimits, RedisRateLimits
from jobs.service.sessions import RedisSessions, Sessions
from jobs.settings import Settings
from jobs.stores.connect import REPLY_TIMEOUT_SECONDS, RETRIES, connect_server, redis_client
from jobs.stores.protocol import JobStore
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.store import RedisJobStore
from jobs.uploads.file_records import FileRecords
from jobs.uploads.file_store import FileStore, FolderStore
from jobs.uploads.object_file_store import ObjectFileStore
from jobs.uploads.redis_records import RedisFileRecords

_REPLY_SECONDS = 5.0  # more than a read of replies waits at the server


@dataclass(frozen=True)
class Stores:
    """Everything that outlives a process of the service."""

    jobs: JobStore
    files: FileRecords
    batches: BatchRecords
    agenda: Agenda
    waiting: WaitingBatches
    content: FileStore  # the bytes of the files
    reports: HttpReports
    rates: RateLimits
    online: OnlineServerSide
    replies: OnlineServerSide  # a second connection for reads that wait for replies
    sessions: Sessions


def open_stores(
    settings: Settings, folder: str, *, reply_timeout_seconds: float = REPLY_TIMEOUT_SECONDS, retries: int = RETRIES
) -> Stores:
    """Open all stores.

    Args:
        settings: Name the Redis server.
        folder: Folder of the file store, or its URL in an object store.
        reply_timeout_seconds: Time that a call waits for a reply of Redis.
        retries: Number of times that a call is repeated when its connection breaks.

    Raises:
        InvalidInput: The files of this Redis database are in another file store, a URL is invalid, or the object store
            refuses.
        OutputNotWritable: The folder or the object store cannot be written.
        StoreUnavailable: Redis cannot be reached or used.
    """
    content: FileStore = ObjectFileStore(folder) if is_url(folder) else FolderStore(Path(folder))
    server = connect_server(settings.redis_url, reply_timeout_seconds=reply_timeout_seconds, retries=retries)
    _check_same_store(server, content, folder)
    jobs = RedisJobStore(server)
    records = RedisFileRecords(server), RedisBatchRecords(server), RedisAgenda(server, DUE)
    waiting = WaitingBatches(RedisAgenda(server, IMPORTS), RedisAgenda(server, FINISHES))
    replies = RedisOnline(RedisServer(redis_client(settings.redis_url, _REPLY_SECONDS)))
    others = RedisOnline(server), replies, RedisSessions(server)
    return Stores(jobs, *records, waiting, content, RedisHttpReports(server), RedisRateLimits(server), *others)


def _check_same_store(server: RedisServer, content: FileStore, folder: str) -> None:
    server.run("SET", FILE_STORE, content.id(), "NX")
    known = server.run("GET", FILE_STORE)
    if known is not None and known.decode(errors="replace") != content.id():
        raise InvalidInput(
            f"The files of this Redis database are not in {folder}, but in another file store.",
            "Name the folder of the first `serve` with --files. If its files are lost for good, "
            f"remove the key {FILE_STORE} from the server.",
        )
