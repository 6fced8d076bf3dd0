"""The results store in Redis or Valkey."""

from __future__ import annotations

from jobs.stores.damage import Damage
from jobs.stores.redis.closing import ShardCloser
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.control import JobRemover, RedisJobControl
from jobs.stores.redis.fleet import RedisFleet
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.job_reader import RedisJobReader
from jobs.stores.redis.recovery import RedisRecovery
from jobs.stores.redis.submissions import RedisSubmissions
from jobs.stores.redis.work import RedisShardWork


class RedisJobStore:
    """A `JobStore` in Redis; the protocols of its facets document each method, `jobs/keys.py` the layout. Thread-safe.

    One Lua script makes every change of several keys of a job. A change by a worker is fenced by the shard's token.
    """

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        index, closer = JobIndex(server), ShardCloser(server)
        remover = JobRemover(server, index)
        self.jobs = RedisJobReader(server, index, remover.remove)
        self.control = RedisJobControl(server, index, self.jobs, closer, remover)
        self.submissions = RedisSubmissions(server, index, self.jobs, self.control)
        self.work = RedisShardWork(server, index, closer)
        self.recovery = RedisRecovery(server, index, closer)
        self.fleet = RedisFleet(server)

    @property
    def damage(self) -> Damage:
        return self._server.damage

    def ping(self) -> None:
        self._server.run("PING")
