"""A Redis broker connection that survives what is not a message.

kombu trusts what it finds on a list: one item that is no message (anybody who can reach the server can put it there)
raises in Celery's main loop and ends the worker. Here such an item is dropped and counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import signals
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport import redis as kombu_redis
from redis.exceptions import DataError

log = logging.getLogger(__name__)

# What reading, unpacking and dispatching an item raises when its bytes, its fields or their kinds are not as expected.
_NO_MESSAGE = (ValueError, TypeError, LookupError, AttributeError, RecursionError, DataError)


class TolerantChannel(kombu_redis.Channel):
    """Gets tasks by BRPOP and remote control by publish and subscribe; drops what is neither."""

    def _brpop_read(self, **options: Any) -> bool | None:  # noqa: ANN401 - kombu's signature
        read: Callable[..., bool | None] = super()._brpop_read
        return self._tolerate(lambda: read(**options))

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
    """kombu's, with tolerant channels."""

    Channel = TolerantChannel


class TolerantConnection(Connection):
    """Whatever kind of Redis URL it is given, its channels are tolerant."""

    def get_transport_cls(self) -> type[TolerantTransport]:
        return TolerantTransport


class TolerantAMQP(AMQP):  # type: ignore[misc]
    """What an application must use (`app.amqp_cls`) for its connections to be tolerant."""

    Connection = TolerantConnection
