"""A Redis broker connection that survives what is not a message, and lets in nothing but hints.

kombu trusts what it finds on a list: one item that is no message (anybody who can reach the server can put it there)
raises in Celery's main loop and ends the worker. Here such an item is dropped and counted; what looks like a message
goes through `worker/queue/front_door.py`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from celery import signals
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport import redis as kombu_redis
from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError, DataError, ReadOnlyError, ResponseError

from jobs.queue.hints import QUEUE_PREFIX
from worker.queue.front_door import clean_message

log = logging.getLogger(__name__)

# What reading, unpacking and dispatching an item raises when its bytes, its fields or their kinds are not as expected.
_NO_MESSAGE = (ValueError, TypeError, LookupError, AttributeError, RecursionError, DataError)

PAUSE_SECONDS = 0.5  # after a failure that a new try at once would only repeat
SAY_AGAIN_SECONDS = 60.0
_WRONG_TYPE = "WRONGTYPE"
_UNBLOCKED = "UNBLOCKED"  # what a waiting BRPOP is told when its primary becomes a replica


def _waits_for_room(connection: type[AbstractConnection]) -> type[AbstractConnection]:
    """That kind of connection, for which a server that cannot save its data counts as one that is not there.

    Such a server refuses every write with MISCONF, and PING and BRPOP too. Celery would end at each of these.
    """

    class Waiting(connection):  # type: ignore[misc,valid-type]
        def read_response(self, *words: Any, **options: Any) -> Any:  # noqa: ANN401 - redis-py's signature
            try:
                return super().read_response(*words, **options)
            except ResponseError as error:
                if not str(error).startswith("MISCONF"):
                    raise
                time.sleep(PAUSE_SECONDS)
                raise ConnectionError(str(error)) from error

    return Waiting


class TolerantChannel(kombu_redis.Channel):
    """Gets tasks by BRPOP and remote control by publish and subscribe; drops what is neither.

    A server that becomes a replica counts as a connection that broke, until it or its successor is a primary again. So
    does a server that cannot save its data, until it can. While a key of the queue is of another type, the queue counts
    as empty, and the log says so once a minute.
    """

    _said_at = -math.inf  # monotonic seconds

    def _brpop_read(self, **options: Any) -> bool | None:  # noqa: ANN401 - kombu's signature
        read: Callable[..., bool | None] = super()._brpop_read
        try:
            return self._tolerate(lambda: read(**options))
        except ResponseError as error:
            if _WRONG_TYPE in str(error):
                self._say_taken()
                time.sleep(PAUSE_SECONDS)  # Celery reads again at once
                return None
            if isinstance(error, ReadOnlyError) or str(error).startswith(_UNBLOCKED):
                raise ConnectionError(str(error)) from error  # Celery reconnects; any other error would end it
            raise

    def _connparams(self, *words: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - kombu's signature
        found: dict[str, Any] = super()._connparams(*words, **options)  # type: ignore[no-untyped-call]
        return found | {"connection_class": _waits_for_room(found["connection_class"])}

    def _queue_bind(self, *words: Any) -> None:  # noqa: ANN401 - kombu's signature
        """The first write after a reconnection. Celery tries again at once, and gives up after five times a second."""
        try:
            super()._queue_bind(*words)  # type: ignore[no-untyped-call]
        except ReadOnlyError:
            time.sleep(PAUSE_SECONDS)
            raise
        except ResponseError as error:
            if _WRONG_TYPE not in str(error):
                raise
            self._say_taken()

    def _size(self, queue: str) -> int:
        try:
            return int(super()._size(queue))  # type: ignore[no-untyped-call]
        except ResponseError as error:
            if _WRONG_TYPE not in str(error):
                raise
            self._say_taken()
            return 0

    def _say_taken(self) -> None:
        now = time.monotonic()
        if now - self._said_at >= SAY_AGAIN_SECONDS:
            self._said_at = now
            log.error(
                "the queue cannot be read: another program uses one of its keys, %s* or _kombu.binding.*; "
                "`redis-cli TYPE KEY` says what a key is, `redis-cli DEL KEY` removes it",
                QUEUE_PREFIX,
            )

    def _receive(self) -> bool | None:
        return self._tolerate(super()._receive)

    def _tolerate(self, read: Callable[[], bool | None]) -> bool | None:
        held = set(self.qos._delivered)
        try:
            return read()
        except _NO_MESSAGE as error:
            log.debug("an item on the queue is no message", exc_info=True)
            for tag in set(self.qos._delivered) - held:  # it got as far as to take one of our places
                self.basic_reject(tag, requeue=False)  # type: ignore[no-untyped-call]
            signals.task_rejected.send(sender=self, message=None, exc=error)
            return None


class TolerantTransport(kombu_redis.Transport):
    """kombu's, with tolerant channels. Queues that are not ours are those of Celery's remote control."""

    Channel = TolerantChannel
    connection_errors = (*kombu_redis.Transport.connection_errors, ReadOnlyError)

    def _deliver(self, message: Any, queue: str) -> None:  # noqa: ANN401 - whatever JSON can hold
        ours = queue.startswith(QUEUE_PREFIX)
        super()._deliver(clean_message(message, queue) if ours else message, queue)  # type: ignore[no-untyped-call]


class TolerantConnection(Connection):
    """Whatever kind of Redis URL it is given, its channels are tolerant."""

    def get_transport_cls(self) -> type[TolerantTransport]:
        return TolerantTransport


class TolerantAMQP(AMQP):  # type: ignore[misc]
    """What an application must use (`app.amqp_cls`) for its connections to be tolerant."""

    Connection = TolerantConnection
