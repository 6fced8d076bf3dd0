"""Interactive requests: the real service, and workers that say what a test tells them to say."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from jobs.online import online_keys
from jobs.online.redis_online import RedisOnline
from jobs.records.model_card import ModelCard
from jobs.stores.connect import connect_server
from jobs.stores.protocol import JobStore
from testing.jobs.scripted_worker import ScriptedWorker
from testing.processes.valkey import ValkeyProcess

MESSAGES: Any = [{"role": "user", "content": "What is 2 + 3?"}]
FAR_FUTURE_MS = 1e13
Background = Callable[..., "Future[Any]"]


@pytest.fixture(scope="session")
def exchange(valkey: ValkeyProcess) -> RedisOnline:
    """What the service and its workers write to."""
    return RedisOnline(connect_server(valkey.url))


@pytest.fixture
def model(store: JobStore) -> str:
    """A served model that only this test uses. No worker takes its requests yet."""
    name = f"scripted-{uuid.uuid4().hex[:8]}"
    card = ModelCard(name, 1000, 2048, has_chat_template=True, thinking="switch", tools="hermes")
    store.fleet.publish_model(card)
    return name


@pytest.fixture
def scripted(valkey: ValkeyProcess, exchange: RedisOnline, model: str) -> ScriptedWorker:
    """A worker of this model, whose report does not expire."""
    worker = ScriptedWorker(exchange, model)
    with valkey.client() as redis:
        redis.zadd(online_keys.workers(model), {worker.name: FAR_FUTURE_MS})
    return worker


@pytest.fixture
def background() -> Iterator[Background]:
    """Runs a call on another thread, and returns its future."""
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit
