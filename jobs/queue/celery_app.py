"""The Celery application that clients and workers share, with all settings of the queue.

A message is only a hint. The store holds all state, so a lost or duplicated message does no harm. Workers therefore
acknowledge a message as soon as they receive it. They keep no Celery results, and leave no copy of a received message
on the server.
"""

from __future__ import annotations

import ssl
from typing import Any

from celery import Celery
from redis.connection import parse_url

from jobs.stores.redis.connection.url import check_url


def make_app(redis_url: str) -> Celery:
    """Return a Celery application for the broker at a `redis://`, `rediss://` or `unix://` URL. Does not connect.

    The worker adds its task and sets its queue's name (`task_default_queue`). A client only sends messages.

    Raises:
        InvalidInput: The URL cannot be used.
    """
    check_url(redis_url)
    app = Celery("qwen_batch", broker=_kombu_url(redis_url), set_as_current=False)
    app.conf.update(
        # Only JSON, so that a message cannot run code.
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        task_default_queue="qwen-batch",
        # A busy worker must not keep hints that an idle worker could take.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        broker_connection_timeout=5,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "ack_emulation": False,  # with it, Celery writes to the server, and a full server ends its main loop
            "socket_connect_timeout": 5,
            "socket_timeout": 20,
            "socket_keepalive": True,
            "health_check_interval": 15,  # no `retry_on_timeout`: with it, kombu sends no batches
        },
    )
    if redis_url.startswith("rediss://"):
        app.conf.broker_use_ssl = _ssl_options(redis_url)
    return app


def _kombu_url(redis_url: str) -> str:
    """Return a URL in kombu's form. kombu has its own form for Unix sockets, and takes TLS options separately."""
    if not redis_url.startswith("unix://"):
        return redis_url.partition("?")[0]
    options: dict[str, Any] = dict(parse_url(redis_url))  # type: ignore[no-untyped-call]
    user = redis_url.removeprefix("unix://").rpartition("@")[0]
    at = f"{user}@" if user else ""
    return f"redis+socket://{at}{options['path']}?virtual_host={options.get('db', 0)}"


def _ssl_options(redis_url: str) -> dict[str, Any]:
    """Return the `ssl_*` options of a URL, as redis-py reads them. Certificates are verified by default."""
    said: dict[str, Any] = dict(parse_url(redis_url))  # type: ignore[no-untyped-call]
    options = {name: value for name, value in said.items() if name.startswith("ssl_")}
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED, **options}
