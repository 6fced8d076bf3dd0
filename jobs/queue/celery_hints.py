"""Send hints as Celery messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from jobs.queue.hints import RUN_SHARD_TASK, queue_name
from jobs.records.job import ShardRef
from jobs.stores.redis.connection.errors import address_of_url, translated

if TYPE_CHECKING:
    from celery import Celery

MESSAGES_PER_BATCH = 500  # max messages that are sent to the server together


class CeleryHints:
    """A `HintSender` that uses Celery. The first call loads Celery and connects to the server."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url

    def send(self, model: str, shards: Iterable[ShardRef]) -> int:
        """Put one message per shard on the model's queue, in large batches. Returns the number of messages.

        Raises:
            StoreUnavailable: The server cannot be reached. Some messages may have been sent; sending a hint twice does
                no harm.
            StoreFull: The server refuses writes.
        """
        queue, count = queue_name(model), 0
        with (
            self._translated_errors(),
            self._app.producer_pool.acquire(block=True) as producer,
            producer.batch(max_size=MESSAGES_PER_BATCH),
        ):
            for shard in shards:
                args = (shard.job_id, shard.index)
                self._app.send_task(RUN_SHARD_TASK, args=args, queue=queue, producer=producer, ignore_result=True)
                count += 1
        return count

    def depth(self, model: str) -> int:
        """Return the number of messages on the model's queue. Raises `StoreUnavailable`."""
        with self._translated_errors(), self._app.pool.acquire(block=True) as connection:
            queue = self._app.amqp.queues[queue_name(model)]
            return int(queue(connection.default_channel).queue_declare().message_count)

    @cached_property
    def _app(self) -> Celery:
        from jobs.queue.celery_app import make_app  # loading Celery takes 0.1 s

        return make_app(self._redis_url)

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        from kombu.exceptions import KombuError
        from redis.exceptions import ConnectionError as RedisConnectionError
        from redis.exceptions import RedisError

        try:
            yield
        except (KombuError, RedisError, OSError) as error:
            cause = error.__cause__ if isinstance(error, KombuError) else error
            told = cause if isinstance(cause, RedisError) else RedisConnectionError(str(error))
            known = translated(told, address_of_url(self._redis_url))
            if known is None:
                raise
            raise known from error
