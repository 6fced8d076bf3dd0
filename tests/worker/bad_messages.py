"""What anybody who can reach the broker may put on a model's queue."""

from __future__ import annotations

import base64
import json
import pickle
import uuid
from typing import Any

from jobs.queue.hints import RUN_SHARD_TASK

JOB = "a-job"
NO_HINTS: list[tuple[list[Any], dict[str, Any]]] = [
    ([], {}),
    ([JOB], {}),
    ([JOB, 0, 0], {}),
    ([JOB, -1], {}),
    ([JOB, 2**80], {}),
    ([JOB, True], {}),
    ([JOB, 0.5], {}),
    ([JOB, "0"], {}),
    ([7, 0], {}),
    ([None, None], {}),
    (["", 0], {}),
    (["x" * 300, 0], {}),
    (["a\x1b[31m", 0], {}),
    ([{"job": JOB}, [0]], {}),
    ([], {"job_id": JOB, "index": 0}),
    ([JOB], {"shard_index": 0}),
]
PICKLED = pickle.dumps({"task": RUN_SHARD_TASK})
JUNK = [
    b"",
    b"not JSON",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b'{"body": 1, "properties": 2}',
    b'{"body": "", "headers": {}, "properties": {}}',
    PICKLED,
]


def _envelope(body: bytes, content_type: str, headers: dict[str, Any]) -> bytes:
    """A message as kombu puts it on a list."""
    properties = {
        "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": "qwen-batch"},
        "delivery_tag": str(uuid.uuid4()),
    }
    message = {
        "body": base64.b64encode(body).decode(),
        "content-type": content_type,
        "content-encoding": "binary",
        "headers": headers,
        "properties": properties,
    }
    return json.dumps(message).encode()


BROKEN = _envelope(b"{broken", "application/json", {"task": RUN_SHARD_TASK, "id": "3"})
FOREIGN = [
    _envelope(PICKLED, "application/x-python-serialize", {"task": RUN_SHARD_TASK, "id": "1"}),
    _envelope(b"[[], {}, {}]", "application/json", {"task": "os.system", "id": "2"}),
    _envelope(b"[1]", "application/json", {"task": RUN_SHARD_TASK, "id": "4"}),
    _envelope(b"[]", "application/json", {}),
]
