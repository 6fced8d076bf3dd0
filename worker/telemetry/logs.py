"""Set up the worker's log."""

from __future__ import annotations

import logging
import re
import warnings
from datetime import UTC, datetime

import msgspec
from celery.platforms import SecurityWarning

from jobs.errors import InvalidInput
from jobs.harmless import harmless_lines, without_credentials

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
CHATTY = ("celery", "kombu", "httpx", "huggingface_hub", "torch")  # loggers of which only warnings are shown
REPEATING = "kombu.transport.redis"  # it warns every second about a server in trouble; `StoreLink` logs that once


_FACT = re.compile(r"\b([a-z_]+)=([^\s,]+)")  # messages contain facts such as `job=… shard=3 seconds=0.25`
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


class TextFormatter(logging.Formatter):
    """Formats records as text. Quoted text from a line or a server cannot control the reader's terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text without control characters."""
        return harmless_lines(super().format(record))


class JsonFormatter(logging.Formatter):
    """Formats each record as one JSON object, for programs that collect and search logs.

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


def set_up_logs(level: str, line_format: str, worker_id: str) -> None:
    """Log one line per event to stderr.

    Args:
        level: debug, info, warning or error.
        line_format: text or json.
        worker_id: Id of the worker that logs, for JSON.

    Raises:
        InvalidInput: The level or the format is unknown.
    """
    if level not in LEVELS:
        raise InvalidInput(f"`log_level` is {level!r}; it must be one of {', '.join(LEVELS)}.")
    if line_format not in FORMATS:
        raise InvalidInput(f"`log_format` is {line_format!r}; it must be one of {', '.join(FORMATS)}.")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(worker_id) if line_format == "json" else TextFormatter(FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    warnings.simplefilter("ignore", SecurityWarning)  # Celery warns about pickle as root; we read only JSON
    if level != "debug":
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger(REPEATING).setLevel(logging.ERROR)
