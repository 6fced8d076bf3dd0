"""Check every message before Celery sees it: a hint is written anew, and every other message is refused.

Anybody who can reach the broker can write a message's headers, and Celery and kombu obey them. Headers can run another
task, read the body as pickle, or unpack a body of any size. They can also hold a message until a date, or send further
messages when a task is done. So only the job id, the shard's index and the message's id pass on from here.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from jobs.queue.hints import RUN_SHARD_TASK
from jobs.records.job import ShardRef

MAX_BODY_CHARS = 4_000  # a hint has about 150; a longer body is not decoded
MAX_MESSAGE_ID_CHARS = 100
MAX_JOB_ID_CHARS = 200
MAX_SHARD_INDEX = 2**53 - 1  # largest integer that every JSON reader keeps exactly

_MUST_BE = {"content-type": "application/json", "content-encoding": "utf-8"}
_MUST_BE_UNSAID = ("compression", "eta", "expires", "chord", "group", "shadow", "stamps", "stamped_headers")


class MalformedHint(ValueError):
    """A message is not a valid call of `run_shard(job_id, shard_index)`."""


class _Body(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The body of a message in Celery's protocol 2: the task's arguments, and `embed`, which names later tasks."""

    args: list[Any]
    kwargs: dict[str, Any]
    embed: dict[str, Any] | None


_body = msgspec.json.Decoder(_Body)


def clean_message(item: object, queue: str) -> dict[str, Any]:
    """Return a new message for the hint in `item`, a decoded JSON value from the list `queue`.

    Raises:
        MalformedHint: The item is not a hint, or its headers ask for more than a hint may.
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


def shard_of_hint(args: Sequence[object], kwargs: Mapping[str, object]) -> ShardRef:
    """Return the shard that a message names. Raises `MalformedHint`."""
    if len(args) == 2 and not kwargs:
        job_id, index = args
    elif not args and set(kwargs) == {"job_id", "shard_index"}:
        job_id, index = kwargs["job_id"], kwargs["shard_index"]
    else:
        raise MalformedHint("expected job_id and shard_index")
    if not isinstance(job_id, str) or not 0 < len(job_id) <= MAX_JOB_ID_CHARS or not job_id.isprintable():
        raise MalformedHint("job_id is not a short printable text")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index <= MAX_SHARD_INDEX:
        raise MalformedHint("shard_index is not a whole number from 0")
    return ShardRef(job_id, index)


def _message_id(said: object) -> str:
    if not isinstance(said, str) or not 0 < len(said) <= MAX_MESSAGE_ID_CHARS or not said.isprintable():
        raise MalformedHint("its id is not a short printable text")
    return said


def _message(shard: ShardRef, message_id: str, queue: str) -> dict[str, Any]:
    """Return a message in the form that kombu reads from a list."""
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
