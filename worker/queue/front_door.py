"""The door that messages come through: one that is exactly a hint is written anew, every other one is refused.

Celery and kombu do what a message's headers say: run another task, read the body as pickle or unpack it whatever its
size, hold it until a date, send further messages when it is done. Anybody who can reach the broker can write headers,
so nothing of a message goes on from here but a job id, a shard's index and an id of its own.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from typing import Any

import msgspec

from jobs.queue.hints import RUN_SHARD_TASK
from jobs.records.job import ShardRef
from worker.queue.hint_message import MalformedHint, shard_of_hint

MAX_BODY_CHARS = 4_000  # a hint has about 150; longer ones are not even unpacked
MAX_MESSAGE_ID_CHARS = 100

_MUST_BE = {"content-type": "application/json", "content-encoding": "utf-8"}
_MUST_BE_UNSAID = ("compression", "eta", "expires", "chord", "group", "shadow", "stamps", "stamped_headers")


class _Body(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Celery's second protocol: what to call a task with, and what to do afterwards."""

    args: list[Any]
    kwargs: dict[str, Any]
    embed: dict[str, Any] | None


_body = msgspec.json.Decoder(_Body)


def clean_message(item: object, queue: str) -> dict[str, Any]:
    """A new message that says the same as `item`, an item of `queue` as JSON gave it.

    Raises:
        MalformedHint: It is not a hint, or asks for more than one may ask for.
    """
    if not isinstance(item, dict):
        raise MalformedHint("it is not a message")
    for name, value in _MUST_BE.items():
        if item.get(name) != value:
            raise MalformedHint(f"its {name} is not {value}")
    headers, properties = item.get("headers"), item.get("properties")
    if not isinstance(headers, dict) or not isinstance(properties, dict):
        raise MalformedHint("it has no headers")
    if headers.get("task") != RUN_SHARD_TASK:
        raise MalformedHint("it is for another task")
    for name in _MUST_BE_UNSAID:
        if headers.get(name):
            raise MalformedHint(f"it asks for {name}")
    if properties.get("body_encoding") != "base64":
        raise MalformedHint("its body is not in base64")
    return _message(_shard(item.get("body")), _message_id(headers.get("id")), queue)


def _shard(body: object) -> ShardRef:
    if not isinstance(body, str) or len(body) > MAX_BODY_CHARS:
        raise MalformedHint("its body is not a short text")
    try:
        told = _body.decode(base64.b64decode(body, validate=True))
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        raise MalformedHint("its body is not what Celery writes") from None
    if told.embed and any(told.embed.values()):
        raise MalformedHint("it asks for something to be done afterwards")
    return shard_of_hint(told.args, told.kwargs)


def _message_id(said: object) -> str:
    if not isinstance(said, str) or not 0 < len(said) <= MAX_MESSAGE_ID_CHARS or not said.isprintable():
        raise MalformedHint("its id is not a short printable text")
    return said


def _message(shard: ShardRef, message_id: str, queue: str) -> dict[str, Any]:
    """As kombu unpacks it from a list."""
    body = msgspec.json.encode([[shard.job_id, shard.index], {}, None])
    return {
        "body": base64.b64encode(body).decode(),
        "content-type": _MUST_BE["content-type"],
        "content-encoding": _MUST_BE["content-encoding"],
        "headers": {"lang": "py", "task": RUN_SHARD_TASK, "id": message_id, "ignore_result": True},
        "properties": {
            "correlation_id": message_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
