"""Set up the worker's log."""

from __future__ import annotations

import logging
import warnings

from celery.platforms import SecurityWarning

from jobs.errors import InvalidInput
from jobs.harmless import harmless_lines
from worker.telemetry.json_logs import JsonFormatter

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
CHATTY = ("celery", "kombu", "httpx", "huggingface_hub", "torch")  # loggers of which only warnings are shown
REPEATING = "kombu.transport.redis"  # it warns every second about a server in trouble; `StoreLink` logs that once


class TextFormatter(logging.Formatter):
    """Formats records as text. Quoted text from a line or a server cannot control the reader's terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text without control characters."""
        return harmless_lines(super().format(record))


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
