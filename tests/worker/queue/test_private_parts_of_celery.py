"""kombu and Celery have what the worker overrides or uses, although they promise it to nobody."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from celery import Celery
from celery.apps.worker import Worker
from celery.worker import state
from kombu.asynchronous.hub import Hub
from kombu.connection import Connection
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

QUEUE = Path(__file__).resolve().parents[3] / "worker" / "queue"
USED = {
    "_brpop_read": kombu_redis.Channel,
    "_connparams": kombu_redis.Channel,
    "_queue_bind": kombu_redis.Channel,
    "_receive": kombu_redis.Channel,
    "_size": kombu_redis.Channel,
    "_deliver": kombu_redis.Transport,
    "amqp_cls": Celery,
    "call_soon": Hub,
    "get_transport_cls": Connection,
    "install_platform_tweaks": Worker,
    "should_stop": state,
}


@pytest.mark.parametrize(("name", "owner"), USED.items(), ids=list(USED))
def test_each_overridden_method_and_attribute_is_still_there(name: str, owner: object) -> None:
    assert hasattr(owner, name)


def test_every_private_method_that_is_called_on_a_library_class_is_listed() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in QUEUE.glob("*.py"))
    called = set(re.findall(r"super\(\)\.(_[a-z]\w*)", code))
    assert len(called) >= 6
    assert called <= set(USED)


def test_a_channel_still_keeps_the_messages_it_delivered() -> None:
    assert issubclass(kombu_redis.QoS, virtual.QoS)
    with Connection("memory://") as connection:
        assert list(connection.channel().qos._delivered) == []
