"""Thousands of things that somebody with bad intentions, or a broken program, may put on a model's queue."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jobs.queue.hints import RUN_SHARD_TASK

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**80, 1e308, "", "x", "x" * 5_000, "\x00", "\x1b[2J", "\ud800", "2099-01-01T00:00:00"),
    *([], {}, [[]], [None], {"a": {"b": []}}, ["application/json"], {"task": RUN_SHARD_TASK}),
)
OTHER_SERIALIZERS = ("application/x-python-serialize", "application/x-yaml", "application/x-msgpack", "text/plain")
OTHER_TASKS = ("os.system", "celery.backend_cleanup", "celery.chord_unlock", "celery.map", "celery.accumulate", "")


class Exploit:
    """Unpickling it makes a file: the proof that nobody did."""

    def __init__(self, evidence: Path) -> None:
        self._evidence = str(evidence)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (self._evidence, "w")


def good_message(job_id: str = "a-job", index: int = 0) -> dict[str, Any]:
    """What Celery writes for a hint."""
    body = json.dumps([[job_id, index], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": RUN_SHARD_TASK,
            "id": "0e8a4d9e-5b2a-4b52-a5a4-1f9d2f6d3c11",
            **dict.fromkeys(("shadow", "eta", "expires", "group", "group_index", "parent_id", "stamped_headers")),
            "retries": 0,
            "timelimit": [None, None],
            "ignore_result": True,
            "stamps": {},
        },
        "properties": {
            "correlation_id": "0e8a4d9e-5b2a-4b52-a5a4-1f9d2f6d3c11",
            "delivery_info": {"exchange": "", "routing_key": "qwen-batch"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "b3c43a52-5b54-4a6e-9c3e-1c5d2a2f7c10",
        },
    }


def malicious_messages(count: int, luck: random.Random, evidence: Path) -> Iterator[bytes]:
    """So many items for a queue, each refused by a worker that is in its right mind.

    Args:
        evidence: A file that exists as soon as somebody unpickles one of them.
    """
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: luck.randbytes(luck.randrange(200)),
        lambda: json.dumps(_random_json(luck, 4)).encode(),
        lambda: pickle.dumps(Exploit(evidence)),
        lambda: _with_body(pickle.dumps(Exploit(evidence)), luck.choice(OTHER_SERIALIZERS)),
        lambda: _with_body(pickle.dumps(Exploit(evidence)), "application/json"),
        lambda: _compressed(luck),
        lambda: _asking_for_more(luck),
        lambda: _for_another_task(luck.choice(OTHER_TASKS)),
        lambda: _without_a_part(luck),
        lambda: b'{"body":' + b"[" * luck.choice((10, 100_000)),
        lambda: _with_body(json.dumps([["j" * luck.choice((201, 100_000)), 0], {}, None]).encode()),
        lambda: _with_body(json.dumps([[luck.choice(ODD_VALUES[:14]), "0"], {}, None]).encode()),
    )
    return (luck.choice(kinds)() for _ in range(count))


def _random_json(luck: random.Random, depth: int) -> Any:
    """Anything but a hint."""
    if depth == 0 or luck.random() < 0.3:
        return luck.choice(ODD_VALUES)
    if luck.random() < 0.5:
        return [_random_json(luck, depth - 1) for _ in range(luck.randrange(4))]
    return {luck.choice(("body", "headers", "properties", "task", "x")): _random_json(luck, depth - 1) for _ in "ab"}


def _with_body(body: bytes, content_type: str = "application/json") -> bytes:
    message = good_message() | {"body": base64.b64encode(body).decode(), "content-type": content_type}
    return json.dumps(message).encode()


def _compressed(luck: random.Random) -> bytes:
    """A megabyte in a kilobyte: the harmless sister of a bomb."""
    pack, name = luck.choice(((zlib.compress, "application/x-gzip"), (gzip.compress, "gzip")))
    message = good_message() | {"body": base64.b64encode(pack(b" " * 2**20)).decode()}
    message["headers"]["compression"] = name
    return json.dumps(message).encode()


def _asking_for_more(luck: random.Random) -> bytes:
    """A hint that is to be kept for ever, or to set something else off."""
    message = good_message()
    if luck.random() < 0.5:
        message["headers"][luck.choice(("eta", "expires"))] = "2099-01-01T00:00:00"
    else:
        again = {"task": RUN_SHARD_TASK, "args": ["a-job", 0], "kwargs": {}, "options": {}}
        embed = {luck.choice(("callbacks", "errbacks", "chain")): [again]}
        message["body"] = base64.b64encode(json.dumps([["a-job", 0], {}, embed]).encode()).decode()
    return json.dumps(message).encode()


def _for_another_task(task: str) -> bytes:
    message = good_message()
    message["headers"]["task"] = task
    return json.dumps(message).encode()


def _without_a_part(luck: random.Random) -> bytes:
    """A part that a hint must have is missing, or is something else."""
    message = good_message()
    name = luck.choice(("body", "content-encoding", "content-type", "headers", "properties"))
    if luck.random() < 0.5:
        del message[name]
    else:
        message[name] = luck.choice([value for value in ODD_VALUES if value != message[name]])
    return json.dumps(message).encode()
