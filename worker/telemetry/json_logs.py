"""Format log lines as JSON objects, for programs that collect and search them."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime

import msgspec

from jobs.harmless import without_credentials

_FACT = re.compile(r"\b([a-z_]+)=([^\s,]+)")  # messages contain facts such as `job=… shard=3 seconds=0.25`
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


class JsonFormatter(logging.Formatter):
    """Formats each record as one JSON object.

    Its keys are `at`, `level`, `logger`, `worker` and `message`, and a key for each `name=value` in the message, such
    as `job` or `shard`. `error` holds the traceback, if there is one.

    Args:
        worker_id: Id of the worker that logs.
    """

    def __init__(self, worker_id: str) -> None:
        super().__init__()
        self._worker_id = worker_id

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        message = without_credentials(record.getMessage())
        line: dict[str, object] = {name: _value(text) for name, text in _FACT.findall(message)}
        line |= {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "worker": self._worker_id,
            "message": message,
        }
        if record.exc_info:
            line["error"] = without_credentials(self.formatException(record.exc_info))
        return msgspec.json.encode(line).decode()


def _value(text: str) -> str | float | int:
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)
