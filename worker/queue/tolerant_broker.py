"""A Redis broker connection that drops items that are not messages, and accepts only hints.

kombu trusts every item of a list, but anybody who can reach the server can put any item there. An item that is not a
message raises in Celery's main loop and ends the worker. Here such an item is dropped and counted. An item that looks
like a message is checked in `worker/queue/front_door.py`.
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

# Errors of reading, unpacking and dispatching an item with unexpected bytes, fields or types.
_NO_MESSAGE = (ValueError, TypeError, LookupError, AttributeError, RecursionError, DataError)

PAUSE_SECONDS = 0.5  # pause after a failure that would only occur again at once
SAY_AGAIN_SECONDS = 60.0  # min time between two log lines about a key of another type
_WRONG_TYPE = "WRONGTYPE"
_UNBLOCKED = "UNBLOCKED"  # start of the error that a waiting BRPOP gets when its primary becomes a replica


def _waits_for_room(connection: type[AbstractConnection]) -> type[AbstractConnection]:
    """Return a subclass of `connection` that treats a server which cannot save its data as unreachable.

    Such a server refuses every write, and also PING and BRPOP, with MISCONF. Any of these errors would end Celery.
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
    """kombu's channel, which also drops items that are not messages.

    Tasks come by BRPOP, and Celery's remote control by publish and subscribe. A server that becomes a replica counts as
    a broken connection until it or its successor is a primary again. A server that cannot save its data counts as a
    broken connection until it can. While a key of the queue has another type, the queue counts as empty, and the log
    says so once a minute.
    """

    _said_at = -math.inf  # monotonic seconds

    def _brpop_read(self, **options: Any) -> bool | None:  # noqa: ANN401 - kombu's signature
        read: Callable[..., bool | None] = super()._brpop_read
        try:
            return self._tolerate(lambda: read(**options))
        except ResponseError as error:
            if _WRONG_TYPE in str(error):
                self._say_taken()
                time.sleep(PAUSE_SECONDS)  # without a pause, Celery would read again at once
                return None
            if isinstance(error, ReadOnlyError) or str(error).startswith(_UNBLOCKED):
                raise ConnectionError(str(error)) from error  # Celery reconnects; any other error would end it
            raise

    def _connparams(self, *words: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - kombu's signature
        found: dict[str, Any] = super()._connparams(*words, **options)  # type: ignore[no-untyped-call]
        return found | {"connection_class": _waits_for_room(found["connection_class"])}

    def _queue_bind(self, *words: Any) -> None:  # noqa: ANN401 - kombu's signature
        """Bind a queue, which is the first write after a reconnection.

        Celery tries again at once. It gives up after five tries per second, so an error is raised after a pause.
        """
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
        held = self._tags_held()
        try:
            return read()
        except _NO_MESSAGE as error:
            log.debug("an item on the queue is no message", exc_info=True)
            for tag in self._tags_held() - held:  # the message took one of this worker's places
                self.basic_reject(tag, requeue=False)  # type: ignore[no-untyped-call]
            signals.task_rejected.send(sender=self, message=None, exc=error)
            return None

    def _tags_held(self) -> set[str]:
        """Return the delivery tags of messages that occupy one of this worker's places."""
        return set(self.qos._delivered)  # noqa: SLF001 - kombu has no public name for it


class TolerantTransport(kombu_redis.Transport):
    """kombu's transport with tolerant channels.

    A queue without our prefix belongs to Celery's remote control, so its messages pass unchecked.
    """

    Channel = TolerantChannel
    connection_errors = (*kombu_redis.Transport.connection_errors, ReadOnlyError)

    def _deliver(self, message: Any, queue: str) -> None:  # noqa: ANN401 - whatever JSON can hold
        ours = queue.startswith(QUEUE_PREFIX)
        super()._deliver(clean_message(message, queue) if ours else message, queue)  # type: ignore[no-untyped-call]


class TolerantConnection(Connection):
    """A connection with tolerant channels for each kind of Redis URL."""

    def get_transport_cls(self) -> type[TolerantTransport]:
        """Return the tolerant transport, whatever the URL's scheme."""
        return TolerantTransport


class TolerantAMQP(AMQP):  # type: ignore[misc]
    """Gives an application tolerant connections. Assign it to `app.amqp_cls`."""

    Connection = TolerantConnection
